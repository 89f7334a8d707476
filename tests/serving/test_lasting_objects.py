import gc
import weakref

from serving.model.lasting_objects import include_lasting_objects, leave_out_lasting_objects


class _Cycle:
    def __init__(self) -> None:
        self.own = self


def test_lasting_objects_are_collected_only_once_they_are_included_again() -> None:
    cycle = _Cycle()
    found = weakref.ref(cycle)
    leave_out_lasting_objects()
    try:
        del cycle
        gc.collect()
        assert found() is not None
    finally:
        include_lasting_objects()
    gc.collect()
    assert found() is None
