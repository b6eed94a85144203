"""Generated images of earlier steps, for a discriminator that is not to forget them."""

import tensorflow as tf

from tfstyle.errors import ArgumentError


class ImagePool(tf.Module):
    """Exchanges generated images for earlier ones.

    Shrivastava et al. 2017 (https://arxiv.org/abs/1612.07828), section 2.3, as in Zhu et al. 2017
    (https://arxiv.org/abs/1703.10593), section 4: each image is, with probability 1/2, put into the
    pool in place of one drawn from it, which is returned instead. While the pool is not full,
    images are put in and returned as they are.

    All replicas keep the same pool: they draw alike and share their images. What is drawn is a
    function of the seed and of how many images came before; a checkpoint holds that and the images.

    Attributes:
        images: variable, float32 [size, height, width, 3].
        count: variable, int64, how many images came so far.
    """

    def __init__(self, size: int, image_size: tuple[int, int], *, seed: int = 0) -> None:
        """
        Args:
            size: number of images kept, at least as many as come at once.
            image_size: (height, width) of each.
            seed: of the draws, at least 0.
        """
        super().__init__()
        if size < 1:
            raise ArgumentError(f"ImagePool size {size}: give at least 1, or use no pool")
        self.size = size
        self.seed = seed
        self.images = tf.Variable(tf.zeros([size, *image_size, 3]), trainable=False, name="images")
        self.count = tf.Variable(0, dtype="int64", trainable=False, name="count")

    def exchange(self, images: tf.Tensor) -> tf.Tensor:
        """This replica's images [B, H, W, 3], float32 -> as many, each itself or an earlier one.

        No gradient flows through it.

        Raises:
            InvalidArgumentError: for more images, of all replicas, than the pool holds.
        """
        images = tf.stop_gradient(images)
        mine = tf.shape(images)[0]
        first, replicas = 0, tf.distribute.get_strategy().num_replicas_in_sync
        if replicas > 1:
            context = tf.distribute.get_replica_context()
            first = mine * tf.convert_to_tensor(context.replica_id_in_sync_group)
            images = context.all_gather(images, axis=0)
        number = tf.shape(images)[0]
        tf.debugging.assert_less_equal(number, self.size, "more images than the pool holds")
        count = self.count.read_value()
        full = count >= self.size
        draws = tf.random.stateless_uniform([2, self.size], tf.stack([self.seed, count]))
        # Each image another place, so that their order says nothing.
        drawn = tf.argsort(draws[0])[:number]
        filled = tf.cast((count + tf.range(tf.cast(number, "int64"))) % self.size, "int32")
        places = tf.where(full, drawn, filled)
        exchanged = full & (draws[1, :number] < 0.5)
        earlier = tf.gather(self.images, places)
        put = tf.where((exchanged | ~full)[:, None, None, None], images, earlier)
        given = tf.where(exchanged[:, None, None, None], earlier, images)
        self.images.assign(tf.tensor_scatter_nd_update(self.images, places[:, None], put))
        self.count.assign_add(tf.cast(number, "int64"))
        return given[first : first + mine]
