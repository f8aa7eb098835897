"""Electronic materials (电子材料): catalogue, cases, materials, grants, reuse decisions."""
