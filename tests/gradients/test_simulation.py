import pytest

from msg.gradients import simulation


@pytest.mark.parametrize("timesteps", [1, 2, 7, 15, 64, 1000])
@pytest.mark.parametrize("elements", [0, 1, 10, 999_999, 4_000_000, 10**9])
def test_chunks_cover_time_once_in_order_and_evenly(timesteps, elements):
    chunks = list(simulation._chunks(timesteps, elements, simulation._CHUNK_ELEMENTS))
    assert [t for chunk in chunks for t in range(chunk.start, chunk.stop)] == list(range(timesteps))
    sizes = [chunk.stop - chunk.start for chunk in chunks]
    limit = max(1, simulation._CHUNK_ELEMENTS // max(1, elements))
    assert max(sizes) <= limit
    # no more chunks than needed, and no tiny remainder after large ones
    assert len(sizes) == -(-timesteps // min(limit, timesteps)) or max(sizes) * (len(sizes) - 1) < timesteps
    assert max(sizes[:-1], default=sizes[0]) == sizes[0]
