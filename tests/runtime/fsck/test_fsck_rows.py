import sqlite3, collections
from datetime import datetime, timedelta
from sqlalchemy import Boolean, DateTime, Integer, BigInteger, LargeBinary, String
from storage.database.metadata import metadata
import runtime.commands.fsck as f
from ledger.problems import quiet

def other(value):
    if isinstance(value, bytes): return bytes([value[0]^1])+value[1:] if value else b"x"
    if isinstance(value,int): return value+1
    try:
        return (datetime.fromisoformat(value)+timedelta(days=1)).strftime("%Y-%m-%d %H:%M:%S.%f")
    except ValueError: return value[:-1]+("0" if value[-1]!="0" else "1") if value else "x"

def test_x(office):
    s=office.store
    def rooms(t):
        m=lambda:f.check_materials(s.materials); a=lambda:f._audit(s,quiet)
        if t.startswith("ledger"): return [lambda:f.check_ledger(s.ledger)]
        if t in("parties","capacities"): return [lambda:f.check_parties(s.database,s.vault,s.ledger.records)]
        if t=="credentials": return [lambda:f.check_parties(s.database,s.vault,s.ledger.records),a]
        if t.startswith("license"): return [lambda:f.check_licenses(s.database,s.ledger.records)]
        if t=="exports": return [lambda:f.check_archive(s.archive)]
        if t in("audit","code_tries"): return [a]
        if t in("objects","uses"): return [m,lambda:f.check_archive(s.archive)]
        if t in("uploads","tickets","verifications"): return [m,a]
        return [m]
    c=sqlite3.connect(s.database.path, isolation_level=None)
    missed=collections.defaultdict(list); wrongplace=collections.defaultdict(list)
    for t in metadata.sorted_tables:
        rows=c.execute(f"select rowid,* from {t.name}").fetchall()
        names=[d[0] for d in c.execute(f"select * from {t.name} limit 0").description]
        for row in rows[:14]:
            rid=row[0]
            for i,name in enumerate(names):
                col=t.c[name]; v=row[i+1]
                edits=[]
                if v is not None:
                    if isinstance(col.type,Boolean): edits.append(1-v)
                    else: edits.append(other(v))
                    diff=[r[i+1] for r in rows if r[i+1] not in (None,v)]
                    if diff: edits.append(diff[0])
                    if col.nullable: edits.append(None)
                else:
                    diff=[r[i+1] for r in rows if r[i+1] is not None]
                    if diff: edits.append(diff[0])
                    elif isinstance(col.type,(String,)) : edits.append("x1")
                    elif isinstance(col.type,LargeBinary): edits.append(b"x"*32)
                    elif isinstance(col.type,(Integer,BigInteger)): edits.append(7)
                    else: edits.append("2027-01-01 00:00:00.000000")
                for e in edits:
                    try: c.execute(f"update {t.name} set {name}=? where rowid=?",(e,rid))
                    except sqlite3.IntegrityError: continue
                    ps=[p for r in rooms(t.name) for p in r()]
                    nr=c.execute(f"select rowid from {t.name} where rowid=?", (rid,)).fetchone()
                    c.execute(f"update {t.name} set {name}=? where rowid=?",(v,rid if nr else e))
                    if not ps: missed[(t.name,name)].append((rid,v,e))
                    elif len(ps)>4: wrongplace[(t.name,name)].append((len(ps),[(p.code,p.where[:20]) for p in ps[:5]]))
            # delete
            c.execute(f"delete from {t.name} where rowid=?",(rid,))
            ps=[p for r in rooms(t.name) for p in r()]
            c.execute(f"insert into {t.name} (rowid,{','.join(names)}) values ({','.join('?'*(len(names)+1))})" if "id" not in names and t.name!="ledger_entries" else f"insert into {t.name} ({','.join(names)}) values ({','.join('?'*len(names))})", row if "id" not in names and t.name!="ledger_entries" else row[1:])
            if not ps: missed[(t.name,"DELETE")].append(rid)
    for k,v in missed.items(): print("MISSED",k,len(v),v[:4])
    for k,v in wrongplace.items(): print("MANY",k,len(v),v[:1])
    assert office.check()==[]
    assert 0
