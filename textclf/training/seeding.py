"""Sets the seeds of the dropout inside a SavedModel, so that two trainings with one seed agree.

TF-Hub encoders were traced without seeds, and tf.random.set_seed does not change traced ops. The seeds are attributes
of the graph's nodes, which are set in a copy.
"""

import tempfile
from pathlib import Path

from textclf.training import tf_setup  # noqa: F401  (before any other import of TensorFlow)

_RANDOM_OPS = frozenset({"RandomUniform", "RandomStandardNormal", "TruncatedNormal", "RandomUniformInt"})
_LINKED = ("variables", "assets", "assets.extra", "keras_metadata.pb")


def seeded_copy(folder: Path, seed: int) -> Path:
    """A copy of the SavedModel whose random ops use `seed`; weights and assets are links to the original.

    The caller removes the copy, a new temporary folder.

    Raises:
        OSError: if the SavedModel can't be read.
        google.protobuf.message.DecodeError: if saved_model.pb is damaged.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    saved_model = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    count = 0
    for meta_graph in saved_model.meta_graphs:
        graph = meta_graph.graph_def
        for nodes in (graph.node, *(function.node_def for function in graph.library.function)):
            for node in nodes:
                if node.op in _RANDOM_OPS:
                    count += 1
                    # Each op has its own stream, even if it was traced with a seed: those seeds depend on the history
                    # of the exporting process, and repeat. Two zeros would mean "no seed".
                    node.attr["seed"].i = seed + 1
                    node.attr["seed2"].i = count
    copy = Path(tempfile.mkdtemp(prefix="textclf-encoder-"))
    for name in _LINKED:
        if (folder / name).exists():
            (copy / name).symlink_to((folder / name).resolve())
    (copy / "saved_model.pb").write_bytes(saved_model.SerializeToString(deterministic=True))
    return copy
