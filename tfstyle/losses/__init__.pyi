from .adversarial import (
    ADVERSARIAL as ADVERSARIAL,
    bce_discriminator_loss as bce_discriminator_loss,
    bce_generator_loss as bce_generator_loss,
    hinge_discriminator_loss as hinge_discriminator_loss,
    hinge_generator_loss as hinge_generator_loss,
    lsgan_discriminator_loss as lsgan_discriminator_loss,
    lsgan_generator_loss as lsgan_generator_loss,
)
from .picture import (
    ROUNDING as ROUNDING,
    blurred as blurred,
    checkerboard_loss as checkerboard_loss,
    checkerboard_ratios as checkerboard_ratios,
    color_loss as color_loss,
    identity_loss as identity_loss,
    pixel_loss as pixel_loss,
    total_variation as total_variation,
)
from .style import (
    CONTENT_LAYER as CONTENT_LAYER,
    PRESETS as PRESETS,
    STYLE_LAYERS as STYLE_LAYERS,
    Preset as Preset,
    channel_means as channel_means,
    content_loss as content_loss,
    covariance_root as covariance_root,
    falling as falling,
    gatys_content_loss as gatys_content_loss,
    gatys_style_loss as gatys_style_loss,
    gram as gram,
    saliency as saliency,
    style_loss as style_loss,
    wasserstein_style_loss as wasserstein_style_loss,
)
from .targets import (
    StyleTargets as StyleTargets,
)
from .weights import (
    PAINTERLY as PAINTERLY,
    GanWeights as GanWeights,
    StyleWeights as StyleWeights,
    Weights as Weights,
)
