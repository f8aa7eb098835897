"""Registers of other bodies (登记库), and data checks (数据核验) against them."""
