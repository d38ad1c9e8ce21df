"""Lent memory: given again only when nobody holds a tensor over it, and never while somebody does."""

import logging
import pickle
import threading

import numpy as np
import pytest
import torch

from hdt_fm.data.slots import Slot, SlotRing


def lent(ring, value):
    tensor = Slot(ring.lease()).tensor((4, 8), torch.float32)
    return tensor.fill_(value)


@pytest.mark.parametrize(
    "hold",
    [
        lambda tensor: tensor[1:2, ::3],
        lambda tensor: tensor.numpy()[2],
        lambda tensor: {"a": [tensor.detach().T]},
        lambda tensor: torch.nn.Parameter(tensor),
    ],
)
def test_a_slot_comes_back_when_the_last_view_is_gone(hold):
    ring = SlotRing(256, 1)
    tensor = lent(ring, 1.0)
    place = tensor.data_ptr()
    held = hold(tensor)
    del tensor
    other = lent(ring, 2.0)
    assert other.data_ptr() != place
    del held
    assert lent(ring, 3.0).data_ptr() == place


def test_all_held_warns_once_and_overwrites_nothing(caplog):
    ring = SlotRing(256, 3)
    with caplog.at_level(logging.WARNING):
        held = [lent(ring, float(number)) for number in range(9)]
    assert [record.message.count("All 3 batch buffers are held") for record in caplog.records] == [1]
    assert len({one.data_ptr() for one in held}) == 9
    for number, one in enumerate(held):
        assert (one == number).all()


def test_the_slot_that_came_back_last_is_lent_first():
    ring = SlotRing(256, 3)
    held = [lent(ring, 0.0) for _ in range(3)]
    place = held[1].data_ptr()
    del held[0], held[0]
    assert lent(ring, 0.0).data_ptr() == place


def test_tensors_lie_apart_and_aligned_and_what_does_not_fit_is_new_memory():
    slot = Slot(np.zeros(1024, np.uint8))
    first, second = slot.tensor((3, 5), torch.int16), slot.tensor((7, 2, 4), torch.float32)
    assert slot.place_of(first) == 0
    assert slot.place_of(second) == 64
    third = slot.tensor((1000,), torch.float32)
    assert slot.place_of(third) is None
    first.fill_(-1)
    assert not second.any()
    assert slot.place_of(second[:, 1]) is None  # not contiguous
    assert (slot.at(64, (7, 2, 4), torch.float32).data_ptr()) == second.data_ptr()


def test_threads_never_share_a_slot():
    ring, clashes = SlotRing(256, 4), []

    def work(value):
        for _ in range(300):
            tensor = lent(ring, value)
            if not (tensor == value).all():
                clashes.append(value)

    threads = [threading.Thread(target=work, args=(float(n),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not clashes
    assert len(ring._free) == 4


def test_another_process_begins_with_an_empty_ring():
    ring = SlotRing(256, 2)
    tensor = lent(ring, 1.0)
    copy = pickle.loads(pickle.dumps(ring))
    assert list(copy._free) == [None, None]
    assert (tensor == 1).all()
