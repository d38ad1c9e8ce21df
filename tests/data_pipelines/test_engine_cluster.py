"""Ray and SLURM (submitit's local executor): the same bytes, also when a node or a job is lost. Skipped without."""

import os
import sys
import threading
import time

import pytest

from data_pipelines.build import build_shards
from data_pipelines.engine.settings import EngineSettings
from data_pipelines.report import Watched


@pytest.fixture(scope="module")
def made(repo):
    folder = str(repo / "tests" / "data_pipelines")
    before = os.environ.get("PYTHONPATH")
    sys.path.insert(0, folder)
    # Ray's and submitit's own processes must find what a task calls.
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    import fabricate_engine

    yield fabricate_engine
    sys.path.remove(folder)
    os.environ.pop("PYTHONPATH") if before is None else os.environ.update(PYTHONPATH=before)


@pytest.fixture
def build(made, tmp_path):
    source = made.write_people(tmp_path / "in", 8)

    def run(name, settings=None, **more):
        settings = made.BUILD | {"subject_key": made.KEY, "engine": settings or EngineSettings()} | more
        build_shards(made.Files(source), folder=tmp_path / name, **settings)
        return made.content(tmp_path / name)

    return run


@pytest.fixture
def cluster(made, monkeypatch):
    """Two nodes of one slot each, as processes of this machine."""
    ray = pytest.importorskip("ray", reason="needs the extra ray")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = nodes.add_node(num_cpus=1)
    nodes.wait_for_nodes()
    yield nodes, second
    ray.shutdown()
    nodes.shutdown()


@pytest.mark.slow
def test_two_ray_nodes_give_the_same_bytes_also_when_one_is_lost_in_the_middle(cluster, build, monkeypatch):
    expected = build("here")
    sizes = []
    nodes, second = cluster
    import ray

    put = ray.put
    with monkeypatch.context() as watched:
        watched.setattr(ray, "put", lambda *arguments, **more: (sizes.append(1), put(*arguments, **more))[1])
        assert build("ray", EngineSettings(name="ray", address=nodes.address)) == expected
    assert not sizes, "a signal went into the object store"
    assert not ray.is_initialized()
    # The same two nodes go on: to start them takes longer than both builds.
    ended = []
    come = Watched.as_completed

    def lose_a_node(watched):
        for done in come(watched):
            if not ended:
                ended.append(done)
                # While the other slot works.
                nodes.remove_node(second, allow_graceful=False)
            yield done

    monkeypatch.setattr(Watched, "as_completed", lose_a_node)
    assert build("lost", EngineSettings(name="ray", address=nodes.address)) == expected
    assert ended
    assert second not in nodes.worker_nodes


@pytest.mark.slow
def test_jobs_of_an_array_give_the_same_bytes(made, build, tmp_path):
    pytest.importorskip("submitit", reason="needs the extra slurm")
    expected = build("here")
    assert build("jobs", EngineSettings(name="slurm", cluster="local", workers=2)) == expected


@pytest.mark.slow
def test_a_job_that_is_killed_is_sent_again(made, build, tmp_path, monkeypatch):
    submitit = pytest.importorskip("submitit", reason="needs the extra slurm")
    expected = build("here")
    killed = []
    submit = submitit.AutoExecutor.submit

    def watch(executor, *arguments):
        job = submit(executor, *arguments)

        def kill():
            time.sleep(2)
            job._process.kill()
            killed.append(job)

        if not killed:
            killed.append(job)
            threading.Thread(target=kill).start()
        return job

    monkeypatch.setattr(submitit.AutoExecutor, "submit", watch)
    assert build("jobs", EngineSettings(name="slurm", cluster="local", workers=2)) == expected
    assert len(killed) == 2
