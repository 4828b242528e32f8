"""The plan of a training's memory agrees with what a GPU has measured; what is unknown is said."""

from lessons import gpu_results
from lessons.ch06 import needs


def test_the_plan_is_near_the_measured_peak():
    usual = {
        "mode": "training",
        "precision": "float32",
        "layout": "channels_last",
        "model": "efficientnet_lite0",
    }
    (row,) = gpu_results.measured(gpu_results.stored_gpu_results(), "image_speed", **usual)
    planned = needs.planned_bytes(row["model"], row["size"], row["batch"])
    assert abs(planned / row["peak_bytes"] - 1) < 0.1


def test_the_plan_grows_with_batch_and_size():
    small, batch, size = (
        needs.planned_bytes("efficientnet_lite0", *job) for job in ((64, 8), (64, 16), (96, 8))
    )
    assert small < batch < 2 * small
    assert small < size


def test_every_job_has_a_plan_and_says_what_nobody_measured():
    jobs = needs.jobs()
    assert jobs["GPU memory, planned"].str.endswith(" GB").all()
    assert (jobs[jobs.index.str.startswith("resnet50")]["time"] == needs.UNKNOWN).all()
