"""What a run has logged for TensorBoard."""

import pathlib

import tensorflow as tf

from tfstyle import files


def cut(folder: pathlib.Path, step: int) -> None:
    """Removes what was logged after a step, which a run that goes on from there logs again.

    Else each reader shows those steps twice, once of what is lost.

    Args:
        folder: of event files, in it and in folders below.
        step: the last that stays.
    """
    for file in sorted(folder.rglob("events.out.tfevents.*")):
        kept, later = [], False
        try:
            for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
                if tf.compat.v1.Event.FromString(record).step <= step:
                    kept.append(record)
                else:
                    later = True
        except tf.errors.DataLossError:  # its last record was being written
            later = True
        if not later:
            continue
        with files.whole(file) as temporary, tf.io.TFRecordWriter(str(temporary)) as writer:
            for record in kept:
                writer.write(record)
