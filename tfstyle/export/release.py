"""What a recipe makes of a trained network: the export, its card, figures and a picture."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfstyle import files, images, training
from tfstyle.export.saved_model import Exported, announce, check_destination, check_name, export


@dataclasses.dataclass(frozen=True)
class Release:
    """What is made of the trained network.

    Args:
        name: of the run and the exported model; made from the recipe's name and the style's where
            empty.
        title: of the style, for the model card.
        licence: of the model, for its card.
        photos: what the photos are and where they are from, for the model card.
        saved_models: folder to export to.
    """

    name: str = ""
    title: str = ""
    licence: str = ""
    photos: str = ""
    saved_models: str = "saved_models"

    def __post_init__(self):
        if self.name:
            check_name(self.name)

    def check(self, run: training.Run) -> None:
        """Raises before the training what `write` would of the place it writes to.

        Raises:
            ExportError, ArgumentError: see `export.check_destination`.
        """
        if run.chief:
            check_destination(run.name, self.saved_models)

    def write(
        self,
        network: keras.Model,
        run: training.Run,
        *,
        description: str,
        style: str,
        figures: Mapping[str, Any],
        picture: np.ndarray,
        styles: Sequence[str] = (),
        limits: Sequence[str] = (),
    ) -> Exported:
        """Exports a network under the run's name, and says where all of it lies.

        Args:
            network: as `export.export` takes it.
            run: which trained it; figures.json and result.jpg are written into its folder.
            description, limits: for the card.
            style: the card's, where there is no title.
            figures: measured; JSON values.
            picture: [H, W, 3] in [0, 1], what the network does.
            styles: names of a network's several styles.
        """
        exported = export(
            network,
            run.name,
            directory=self.saved_models,
            styles=styles,
            card={
                "description": description,
                "style": self.title or style,
                **run.card(),
                "figures": figures,
                **({"limits": list(limits)} if limits else {}),
            },
        )
        figures_file = files.write_json(run.folder / "figures.json", figures)
        images.write(run.folder / "result.jpg", picture)
        announce(exported, run.folder / "result.jpg")
        print(f"Figures     {figures_file}")
        return exported
