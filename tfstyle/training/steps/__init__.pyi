from .gan import (
    GanStep as GanStep,
)
from .noise_gan import (
    NoiseGanStep as NoiseGanStep,
)
from .perceptual import (
    PerceptualStep as PerceptualStep,
    TargetStep as TargetStep,
)
from .style_class import (
    StyleClassStep as StyleClassStep,
)
