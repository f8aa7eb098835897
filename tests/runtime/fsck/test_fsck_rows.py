import cProfile, pstats
def test_x(office):
    import runtime.commands.fsck as f
    from ledger.problems import quiet
    s=office.store
    f.check_materials(s.materials); f._audit(s,quiet)
    for fn in (lambda:f.check_materials(s.materials), lambda:f._audit(s,quiet)):
        p=cProfile.Profile(); p.enable(); fn(); p.disable()
        pstats.Stats(p).sort_stats('cumtime').print_stats(45)
    assert 0
