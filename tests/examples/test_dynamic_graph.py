def test_memory_tells_what_a_snapshot_does_not(example):
    right = {name: example.run(name, delay=1, epochs=2, seed=0) for name in example.MODELS}
    # a guess of 4,900 labels is within three percent of a half
    assert abs(right["GraphSAGE"] - 0.5) < 0.05
    assert abs(right["spiking, state dropped"] - 0.5) < 0.05
    assert right["spiking, state carried"] > 0.8
    assert right["the same, on H64"] > 0.8
