#!/usr/bin/env bash
# Starts a Ceph object gateway for tests: one monitor, one OSD in memory, one gateway, all on
# loopback and in one folder. From Debian's packages ceph-mon, ceph-osd and radosgw.
#
#   scripts/servers/radosgw.sh FOLDER PORT ACCESS_KEY SECRET_KEY
#
# Runs until it gets TERM, and takes its daemons along. Says "ready" once S3 answers.
set -eu

for command in ceph-mon ceph-osd radosgw radosgw-admin ceph monmaptool ceph-authtool; do
    command -v "$command" >/dev/null 2>&1 || {
        echo "mianjiao: 缺少 $command；请安装：apt install ceph-mon ceph-osd radosgw" >&2
        echo "          $command is missing; install it: apt install ceph-mon ceph-osd radosgw" >&2
        exit 1
    }
done
folder=$1 port=$2 access=$3 secret=$4
mkdir -p "$folder/mon" "$folder/osd" "$folder/run"
fsid=$(cat /proc/sys/kernel/random/uuid)
mon_port=$((port + 1))
export CEPH_CONF="$folder/ceph.conf"

cat >"$CEPH_CONF" <<CONF
[global]
fsid = $fsid
mon host = v2:127.0.0.1:$mon_port
public addr = 127.0.0.1
ms bind ipv6 = false
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
keyring = $folder/keyring
run dir = $folder/run
admin socket = $folder/run/\$name.asok
log file = $folder/\$name.log
mon data = $folder/mon
osd data = $folder/osd
osd objectstore = memstore
memstore device bytes = 4294967296
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
osd max object name len = 1024
rgw frontends = beast endpoint=127.0.0.1:$port
rgw enable usage log = false
CONF

ceph-authtool --create-keyring "$folder/keyring" --gen-key -n mon. --cap mon 'allow *' >/dev/null
for name in client.admin osd.0 client.rgw; do
    ceph-authtool "$folder/keyring" --gen-key -n "$name" --cap mon 'allow *' \
        --cap osd 'allow *' --cap mgr 'allow *' >/dev/null
done
monmaptool --create --fsid "$fsid" --addv a "[v2:127.0.0.1:$mon_port]" "$folder/monmap" >/dev/null
ceph-mon --mkfs -i a --monmap "$folder/monmap" --keyring "$folder/keyring"

daemons=""
end() {
    # shellcheck disable=SC2086
    kill $daemons 2>/dev/null || true
    wait
}
trap end EXIT
trap 'exit 0' INT TERM HUP

ceph-mon -f -i a --keyring "$folder/keyring" >"$folder/mon.out" 2>&1 &
daemons=$!
ceph --connect-timeout 30 osd new "$(cat /proc/sys/kernel/random/uuid)" >/dev/null
ceph auth import -i "$folder/keyring" 2>/dev/null
ceph-osd -i 0 --mkfs --osd-uuid "$(ceph osd dump | sed -n 's/^osd\.0 .* //p')" >/dev/null 2>&1
ceph-osd -f -i 0 >"$folder/osd.out" 2>&1 &
daemons="$daemons $!"
radosgw-admin user create --uid tester --display-name tester --access-key "$access" \
    --secret "$secret" >"$folder/user.out" 2>&1
radosgw -f -n client.rgw >"$folder/rgw.out" 2>&1 &
gateway=$!
daemons="$daemons $gateway"
until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
    kill -0 "$gateway" 2>/dev/null || { tail -n 5 "$folder/rgw.out" >&2; exit 1; }
    sleep 0.1
done
echo ready
wait "$gateway"
