"""README.txt of a package: what it is, and how to verify it by hand. Pure.

A test follows these instructions with nothing but `sha256sum`, `openssl`, `sed`
and Python's standard library, so that they stay true.
"""

from collections.abc import Sequence
from typing import Final

# Text between the marks is a program, cut out by `sed` as the instructions say.
CHECK_PROGRAM: Final = """\
#BEGIN check.py
# usage: python3 -I check.py RECEIPT VKEY WORK
import base64, hashlib, json, pathlib, sys

receipt, vkey, work = pathlib.Path(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3])


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

# 3. your key is the log's: take it apart, and lay out what openssl is to check
name, key_id, material = vkey.split("+", 2)
key = base64.b64decode(material, validate=True)
demand("vkey", key[0] == 1 and sha256(name.encode() + b"\\n" + key)[:4].hex() == key_id)
demand("origin", origin == name)
mine = [line for line in signatures.split("\\n") if line.startswith(f"\\u2014 {name} ")]
blobs = [base64.b64decode(line.rsplit(" ", 1)[1]) for line in mine]
blobs = [blob[4:] for blob in blobs if blob[:4].hex() == key_id]
demand("signature line", len(blobs) == 1 and len(blobs[0]) == 64)
(work / "body").write_bytes(body.encode() + b"\\n")
(work / "signature").write_bytes(blobs[0])
(work / "key.der").write_bytes(bytes.fromhex("302a300506032b6570032100") + key[1:])

print(f"in the log: {data['record']['kind']} at {data['record']['at']},"
      f" entry {index} of {size} in {origin}")
for file in data["record"].get("files", []):
    print(f"file {file['size']} bytes sha256 {file['digests']['sha256']}"
          f" sm3 {file['digests']['sm3']}")
#END check.py
"""

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
receipts/           存证凭证，每条记录一份 / receipts, one per logged record
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
    mianjiao verify FOLDER --policy YOUR-POLICY

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
receipts/<record>.json. Put your key and the receipt here:

    VKEY='<您的公钥 your vkey>'
    RECEIPT=receipts/<record>.json

    $ python3 -I "$WORK/check.py" "$RECEIPT" "$VKEY" "$WORK"

程序重算：记录与盐值 → 承诺值 → 日志条目 → 包含路径 → 检查点根摘要，并列出记录中文件的摘要。
It recomputes: record and salt, commitment, log entry, audit path, root of the
checkpoint; and prints the digests of the files that the record names.

第 4 步：检查点确由该日志签名（输出 Signature Verified Successfully）
Step 4: the log signed that checkpoint (prints Signature Verified Successfully)

    $ cd "$WORK"
    $ openssl pkeyutl -verify -pubin -keyform DER -inkey key.der -rawin -in body -sigfile signature
    $ cd "$OLDPWD"

第 5 步：文件与记录一致：比较下列摘要与第 3 步列出的摘要
Step 5: the file is the one of the record: compare with the digests of step 3

    FILE=data/materials/0001/<file>

    $ sha256sum "$FILE"
    $ openssl dgst -sm3 "$FILE"

第 6 步（可选）：整包。导出完成后日志记录了 tagmanifest-sha256.txt 的摘要，其凭证在包外
（<文件夹名>.receipt.json）。对它重复第 3、4 步，再比较：
Step 6 (optional): the package as a whole. After the export the log recorded the digest
of tagmanifest-sha256.txt; that receipt stands beside the folder (<folder>.receipt.json).
Repeat steps 3 and 4 for it and compare:

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
· 文书（PDF）由存证记录生成，其字节由第 6 步的凭证证明。
  The PDF documents were rendered from logged records; their bytes are covered by step 6.

程序 The program
----------------
"""


def readme(number: str, exported_at: str, package_format: str, vkeys: Sequence[str]) -> bytes:
    """The text for one package. `vkeys`: the keys of the logs that its checkpoints are from."""
    text = _TEXT.format(
        number=number,
        exported_at=exported_at,
        format=package_format,
        vkeys="\n".join(f"    {vkey}" for vkey in vkeys),
    )
    return (text + CHECK_PROGRAM).encode("utf-8")
