"""Who plays in the demo story. Everybody and everything is fictional.

云间区 has the unassigned area code 310199, so that no real person or body
matches; all check characters are right.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Someone:
    """A holder: type word, code, name."""

    type: str
    code: str
    name: str

    def ref(self) -> dict[str, str]:
        return {"type": self.type, "code": self.code, "name": self.name}


COMPANY = Someone("001", "91310199MA1Y7K2D1G", "上海云间禾味餐饮管理有限公司")
LEGAL_REPRESENTATIVE = Someone("111", "310199198802299064", "沈云舟")
OPERATOR_PERSON = Someone("111", "310199199207089155", "周文博")
LANDLORD = Someone("111", "310199196105179316", "顾明远")
CO_OWNER = Someone("111", "310199196311029247", "陆静宜")
ELDER = Someone("111", "310199194803219179", "赵阿福")

MARKET_AUTHORITY = "11310199MB2Y01016G"  # 云间区市场监督管理局
ARCHIVE = "12310199MB2Y04049F"  # 云间区档案馆
HEALTH = "11310199MB2Y020191"  # 云间区卫生健康委员会
CIVIL_AFFAIRS = "11310199MB2Y050411"  # 云间区民政局
SERVICE_CENTRE = "12310199MB2Y080841"  # 云间区政务服务中心
COUNTER = "综窗3号"
CLERK = "陈晓岚"
REVIEWER = "林知远"

OLD_ADDRESS = "云间区禾苗路 18 号 101 室"
NEW_ADDRESS = "云间区禾苗路 18 号 205 室"
ACTS_FOR_COMPANY = {**OPERATOR_PERSON.ref(), "capacity": "operator"}

AREA = "310199"
FOOD_MATTER = "11310199MB2Y01016G4000131014000"
ESTABLISHMENT = "company_establishment"
ELDERLY = "elderly_allowance"
HYGIENE = "public_place_hygiene_permit"

OLD_LICENSE = "1.2.156.3005.2.11100000MB0143028R001.11310199MB2Y01016G.20240312000187.001.G"
NEW_LICENSE = "1.2.156.3005.2.11100000MB0143028R001.11310199MB2Y01016G.20240312000187.002.E"
OLD_FOOD_PERMIT = "1.2.156.3005.2.11100000MB0143028R002.11310199MB2Y01016G.20260518000042.001.E"
