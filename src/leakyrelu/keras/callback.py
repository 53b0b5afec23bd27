"""Logs the dead units of a Keras model while it trains."""

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from leakyrelu._shared.arguments import positive_integer
from leakyrelu.keras.diagnosis import check_data, diagnose
from leakyrelu.keras.private import keras
from leakyrelu.units.scalars import scalars_of
from leakyrelu.units.sites import LISTS

if TYPE_CHECKING:
    from leakyrelu.units.diagnosis import Diagnosis

__all__ = ["DeadUnits"]


class DeadUnits(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Diagnoses a model at the end of epochs of `fit`, and adds the fraction of dead units to Keras's logs.

    Callbacks that stand after it in the list see the key, such as `EarlyStopping`, `ModelCheckpoint`, `CSVLogger` and
    `TensorBoard`, and so do the progress bar and the `History` that `fit` returns, as Keras puts them last. Callbacks
    that stand before it do not.

    Parameters
    ----------
    x : array, list or dict of arrays, tf.data.Dataset, keras.utils.PyDataset or torch DataLoader
        The data to diagnose on, as for `diagnose`; some hundreds of examples are enough to watch training. A generator
        is used up after one epoch, so it must have no end, and `steps` be given.
    freq : int, default 1
        1 diagnoses at the end of every epoch, 2 at the end of every second one, and so on. The first epoch of `fit` is
        always diagnosed. The logs of the epochs between repeat the last values, as `CSVLogger` takes its columns from
        the first epoch, and `EarlyStopping` warns in each epoch without its key.
    batch_size : int, default 32
        As for `diagnose`.
    steps : int, optional
        As for `diagnose`.
    per_site : bool, default False
        Whether to log ``"units/dead_fraction/NAME"``, too: the fraction of dead units of each site.
    kinds : collection of str, optional
        What is logged, by default the dead units alone: ``"dead"`` gives ``"units/dead_fraction"``, and likewise
        ``"one_sided"``, ``"rare"``, ``"always_on"``, ``"dormant"`` and ``"nan"``; see `Site`.

    Attributes
    ----------
    diagnosis : Diagnosis or None
        The last one; None before the first.

    Raises
    ------
    TypeError, ValueError
        An argument is wrong. Errors of `diagnose` are raised at the end of the epoch.

    See Also
    --------
    diagnose : says what counts as an activation and as a unit.

    Examples
    --------
    >>> import keras, numpy as np
    >>> from leakyrelu.keras import DeadUnits
    >>> x = np.random.default_rng(0).normal(size=(100, 4))
    >>> model = keras.Sequential([keras.layers.Dense(8, activation="relu"), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> history = model.fit(x, x[:, 0], epochs=2, verbose=0, callbacks=[DeadUnits(x)])
    >>> sorted(history.history), len(history.history["units/dead_fraction"])
    (['loss', 'units/dead_fraction'], 2)
    """

    def __init__(
        self,
        x: Any,
        *,
        freq: int = 1,
        batch_size: int = 32,
        steps: int | None = None,
        per_site: bool = False,
        kinds: Collection[str] = ("dead",),
    ) -> None:
        super().__init__()
        positive_integer("freq", freq)
        check_data(x, batch_size, steps)
        if isinstance(x, Iterator) and steps is None:
            raise TypeError(
                "x is a generator, which is used up after one epoch; give arrays, or steps if it has no end"
            )
        if isinstance(kinds, str) or not set(kinds) <= set(LISTS):
            raise ValueError(f"kinds must be some of {', '.join(LISTS)}, such as ('dead', 'rare'), got {kinds!r}")
        self.diagnosis: Diagnosis | None = None
        self._x, self._freq, self._batch_size, self._steps = x, freq, batch_size, steps
        self._per_site, self._kinds = per_site, tuple(kinds)
        self._epochs = 0  # of this fit

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002, D102  # Keras's
        self._epochs = 0

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002, D102  # Keras's
        if self._epochs % self._freq == 0:
            self.diagnosis = diagnose(self.model, self._x, batch_size=self._batch_size, steps=self._steps)
        self._epochs += 1
        if logs is not None and self.diagnosis is not None:
            logs.update(scalars_of(self.diagnosis, kinds=self._kinds, per_site=self._per_site))
