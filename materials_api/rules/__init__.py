"""The rules of reuse and exemption (复用与免交规则). Pure: facts and a time in, a decision out."""
