from .applications import (
    densenet121 as densenet121,
    resnet50 as resnet50,
    vgg19 as vgg19,
)
from .backbones import (
    BACKBONES as BACKBONES,
    Backbone as Backbone,
    layer_names as layer_names,
)
from .bundled import (
    ALEXNET_LAYERS as ALEXNET_LAYERS,
    VGG16_LAYERS as VGG16_LAYERS,
    alexnet as alexnet,
    vgg16 as vgg16,
    vgg16_light as vgg16_light,
)
from .perceptual import (
    Perceptual as Perceptual,
)
from .receptive_field import (
    receptive_field as receptive_field,
)
from .weights import (
    WeightsError as WeightsError,
)
