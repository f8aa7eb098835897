"""README.txt of a package: what it is, and how to verify it by hand. Pure.

A test follows these instructions with nothing but `sha256sum`, `openssl`, `sed`
and Python's standard library, so that they stay true; for the post-quantum signature
with an openssl that knows it, where there is one, and with the package `cryptography`.
"""

from collections.abc import Sequence
from typing import Final

# Text between the marks is a program, cut out by `sed` as the instructions say.
CHECK_PROGRAM: Final = """\
#BEGIN check.py
# usage: python3 -I check.py RECEIPT VKEY WORK [ML-DSA-44-VKEY]
import base64, hashlib, json, pathlib, sys

receipt, vkey, work = pathlib.Path(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3])
pq_vkey = sys.argv[4] if len(sys.argv) > 4 else ""


def sha256(data):
    return hashlib.sha256(data).digest()


def demand(what, holds):
    if not holds:
        sys.exit(f"NOT VALID: {what}")


# 1. record and salt give the commitment that stands in the log's entry
data = json.loads(receipt.read_bytes())
record = json.dumps(data["record"], sort_keys=True, ensure_ascii=False, separators=(",", ":"))
salt = base64.b64decode(data["salt"], validate=True)
commitment = sha256(b"mianjiao.record.v1\\0" + salt + record.encode())
entry = b'{"commitment":"sha256:' + commitment.hex().encode() + b'","v":1}'
demand("record and entry", len(salt) == 32 and base64.b64decode(data["entry"]) == entry)

# 2. the entry is in the tree of the checkpoint (RFC 9162, section 2.1.3.2)
head, note = data["proof"].split("\\n\\n", 1)
lines = head.split("\\n")
demand("proof", lines[0] == "c2sp.org/tlog-proof@v1" and lines[1].startswith("index "))
index, path = int(lines[1][6:]), [base64.b64decode(line) for line in lines[2:]]
body, signatures = note.split("\\n\\n", 1)
origin, size, root = body.split("\\n")
node, last, current = index, int(size) - 1, sha256(b"\\0" + entry)
demand("index", 0 <= node <= last)
for sibling in path:
    demand("path", last > 0 and len(sibling) == 32)
    if node % 2 or node == last:
        current = sha256(b"\\1" + sibling + current)
        while node % 2 == 0 and node:
            node, last = node >> 1, last >> 1
    else:
        current = sha256(b"\\1" + current + sibling)
    node, last = node >> 1, last >> 1
demand("root", last == 0 and current == base64.b64decode(root))


# 3. your keys are the log's: take them apart, and lay out what openssl is to check
def signature_by(vkey, kind, size):
    name, key_id, material = vkey.split("+", 2)
    key = base64.b64decode(material, validate=True)
    demand("vkey", key[0] == kind and sha256(name.encode() + b"\\n" + key)[:4].hex() == key_id)
    demand("origin", origin == name)
    mine = [line for line in signatures.split("\\n") if line.startswith(f"\\u2014 {name} ")]
    blobs = [base64.b64decode(line.rsplit(" ", 1)[1]) for line in mine]
    blobs = [blob[4:] for blob in blobs if blob[:4].hex() == key_id]
    demand("signature line", len(blobs) == 1 and len(blobs[0]) == size)
    return key[1:], blobs[0]


key, signature = signature_by(vkey, 1, 64)
(work / "body").write_bytes(body.encode() + b"\\n")
(work / "signature").write_bytes(signature)
(work / "key.der").write_bytes(bytes.fromhex("302a300506032b6570032100") + key)

# 4. the post-quantum signature (C2SP tlog-cosignature): its time, and what it signs
for old in ("pq.der", "pq.msg", "pq.sig"):
    (work / old).unlink(missing_ok=True)
if pq_vkey:
    key, signature = signature_by(pq_vkey, 6, 8 + 2420)
    demand("key of ML-DSA-44", len(key) == 1312)
    named = bytes([len(origin.encode())]) + origin.encode()
    tree = bytes(8) + int(size).to_bytes(8, "big") + base64.b64decode(root)
    (work / "pq.msg").write_bytes(b"subtree/v1\\n\\0" + named + signature[:8] + named + tree)
    (work / "pq.sig").write_bytes(signature[8:])
    (work / "pq.der").write_bytes(
        bytes.fromhex("30820532300b06096086480165030403110382052100") + key
    )

print(f"in the log: {data['record']['kind']} at {data['record']['at']},"
      f" entry {index} of {size} in {origin}")
for file in data["record"].get("files", []):
    print(f"file {file['size']} bytes sha256 {file['digests']['sha256']}"
          f" sm3 {file['digests']['sm3']}")
#END check.py
"""

PQ_PYTHON: Final = (
    "python3 -c 'from cryptography.hazmat.primitives.serialization import"
    " load_der_public_key as key;"
    ' read = lambda name: open(name, "rb").read();'
    ' key(read("pq.der")).verify(read("pq.sig"), read("pq.msg"));'
    """ print("ML-DSA-44 verified")'"""
)

_TEXT: Final = """\
办件归档包：说明与手工核验方法
Package of a closed case: what it is, and how to verify it by hand
==================================================================

办件编码 case number   {number}
导出时间 exported at   {exported_at} (UTC)
格式     format        BagIt 1.0 (RFC 8493), {format}

内容 Contents
-------------
data/materials/     办件材料（本次提交的和复用的），每份一个文件夹；原文件名见 case.xml
                    materials, own and reused, a folder each; original names in case.xml
data/documents/     核验结果单、告知承诺书等文书 / slips, commitments, notices (PDF)
data/licenses/      电子证照元数据及状态历史 / licences: metadata and status history
case.xml case.json  基本信息元数据（两者内容相同）/ description of the case (the same twice)
process.xml         管理过程元数据 / process records
schema/             上述 XML 的结构定义 / schemas of the XML files
receipts/           存证凭证，每条记录一份，附导出时已有的外部证据（时间戳、区块链）
                    receipts, one per logged record, with the time stamps and chain
                    evidence that there were at the export
checkpoints/        凭证所依据的日志检查点 / the signed log heads that the receipts refer to
*manifest-*.txt     文件清单及摘要 / lists of all files with their digests

元数据参照 GB/T 42727、DA/T 85 设计，未作符合性声明。
The metadata are modelled on GB/T 42727 and DA/T 85; no conformance is claimed.

信任 Trust
----------
核验所用的公钥（vkey）必须来自您自己掌握的信任策略，不得取自本包。
Take the log's public key (vkey) from a trust policy of your own, never from this package.
导出方声明的公钥如下，仅供比对 / What the exporting store states, for comparison only:
{vkeys}

核验 Verification
-----------------
需要一般 Linux 命令、openssl 3 和 python3，无需联网，也无需本软件。
You need ordinary Linux commands, openssl 3 and python3; no network, none of our software.
用本软件则只需一条命令 / With our software one command does it all:
    mianjiao verify FOLDER --policy YOUR-POLICY [--demands YOUR-DEMANDS]

在本文件夹中依次执行 / In this folder, one after the other:

第 1 步：文件是否齐全、未被改动
Step 1: are all files there and unchanged?

    $ WORK=$(mktemp -d)
    $ sha256sum --check --strict --quiet manifest-sha256.txt
    $ sha256sum --check --strict --quiet tagmanifest-sha256.txt

没有输出即为一致。清单以外不应有别的文件（两份 tagmanifest 自身除外），下列命令也应无输出：
No output means they agree. There must be no file that the lists do not name, except
the two tagmanifest files: these commands should print nothing either.

    $ find . ! -type d ! -name 'tagmanifest-*.txt' | sed 's|^\\./||' | sort > "$WORK/found"
    $ sed 's/^[0-9a-f]*  //' manifest-sha256.txt tagmanifest-sha256.txt | sort > "$WORK/listed"
    $ diff "$WORK/listed" "$WORK/found"

第 2 步：取出本文件末尾的小程序（只用 Python 标准库；请先阅读再运行）
Step 2: cut out the small program at the end of this file (standard library only;
read it before you run it)

    $ sed -n '/^#BEGIN check.py/,/^#END check.py/p' README.txt > "$WORK/check.py"

第 3 步：选一份凭证；case.json 中每项的 records 列出其凭证，receipts/<记录>.json
Step 3: choose a receipt. In case.json, `records` of each item names them:
receipts/<record>.json. Put your keys and the receipt here; PQVKEY, the log's ML-DSA-44
key, may stay empty, and then step 5 is left out:

    VKEY='<您的公钥 your vkey>'
    PQVKEY='<您的抗量子公钥，可留空 your ML-DSA-44 vkey, or nothing>'
    RECEIPT=receipts/<record>.json

    $ python3 -I "$WORK/check.py" "$RECEIPT" "$VKEY" "$WORK" "$PQVKEY"

程序重算：记录与盐值 → 承诺值 → 日志条目 → 包含路径 → 检查点根摘要，并列出记录中文件的摘要。
It recomputes: record and salt, commitment, log entry, audit path, root of the
checkpoint; and prints the digests of the files that the record names.

第 4 步：检查点确由该日志签名（输出 Signature Verified Successfully）
Step 4: the log signed that checkpoint (prints Signature Verified Successfully)

    $ cd "$WORK"
    $ openssl pkeyutl -verify -pubin -keyform DER -inkey key.der -rawin -in body -sigfile signature
    $ cd "$OLDPWD"

第 5 步（可选）：日志的抗量子签名（ML-DSA-44），5A、5B 任选其一
Step 5 (optional): the log's post-quantum signature (ML-DSA-44), by 5A or by 5B

第 5A 步：openssl 3.5 或更新（输出 Signature Verified Successfully）
Step 5A: with openssl 3.5 or newer (prints Signature Verified Successfully)

    $ cd "$WORK"
    $ openssl pkeyutl -verify -pubin -keyform DER -inkey pq.der -rawin -in pq.msg -sigfile pq.sig
    $ cd "$OLDPWD"

第 5B 步：任何机器，用 Python 的 cryptography 包（50 版已测试；输出 ML-DSA-44 verified）
Step 5B: anywhere, with Python's package `cryptography` (tested with version 50; prints
ML-DSA-44 verified)

    $ cd "$WORK"
    $ {pq_python}
    $ cd "$OLDPWD"

第 6 步：文件与记录一致：比较下列摘要与第 3 步列出的摘要
Step 6: the file is the one of the record: compare with the digests of step 3

    FILE=data/materials/0001/<file>

    $ sha256sum "$FILE"
    $ openssl dgst -sm3 "$FILE"

第 7 步（可选）：整包。导出完成后日志记录了 tagmanifest-sha256.txt 的摘要，其凭证在包外
（<文件夹名>.receipt.json）。对它重复第 3 至 5 步，再比较：
Step 7 (optional): the package as a whole. After the export the log recorded the digest
of tagmanifest-sha256.txt; that receipt stands beside the folder (<folder>.receipt.json).
Repeat steps 3 to 5 for it and compare:

    $ sha256sum tagmanifest-sha256.txt

证明了什么 What this proves
---------------------------
· 凭证中的记录在检查点所示时刻之前已写入日志，此后未被改动；文件与当时存证的一致。
  The record stood in the log when the checkpoint was signed and was not changed since;
  the files are those that were logged then.
· 只说明“当时已存证”，不说明“现在仍有效”：证照现状须向颁发机构查询。
  "Logged then", not "valid now": ask the issuer for the present status of a licence.
· 若信任策略为 quorum none，则仅有运营方签名；能否另有一个分叉的日志，须靠见证人发现。
  With `quorum none` the signature is the operator's alone: only witnesses would
  notice a log that shows two faces.
· 文书（PDF）由存证记录生成，其字节由第 7 步的凭证证明。
  The PDF documents were rendered from logged records; their bytes are covered by step 7.
· 以上各步不核验见证人联署、时间戳与区块链证据：请用本软件并自备核验要求（--demands）。
  These steps check no witnesses, time stamps or chains: our software does, with demands
  of your own (--demands).

程序 The program
----------------
"""


def readme(number: str, exported_at: str, package_format: str, vkeys: Sequence[str]) -> bytes:
    """The text for one package. `vkeys`: the keys of the logs that its checkpoints are from."""
    text = _TEXT.format(
        number=number,
        exported_at=exported_at,
        format=package_format,
        pq_python=PQ_PYTHON,
        vkeys="\n".join(f"    {vkey}" for vkey in vkeys),
    )
    return (text + CHECK_PROGRAM).encode("utf-8")
