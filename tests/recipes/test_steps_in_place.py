"""What TensorFlow computes for a step of our optimisers."""

import keras
import numpy as np
import pytest

from keras_vit.recipes.optimizers import AdamW, MomentumSGD


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="of TensorFlow")
@pytest.mark.parametrize("make", [lambda: MomentumSGD(0.1), lambda: AdamW(0.1)])
def test_a_step_of_tensorflow_makes_no_copies_of_a_variable(make):
    import tensorflow as tf

    variable = keras.Variable(np.ones((7, 5), "float32"), name="kernel")
    made = make()
    made.build([variable])
    made.weight_decay = None  # Keras's own operations
    step = tf.function(lambda gradient: made.apply([gradient], [variable]), autograph=False)
    operations = step.get_concrete_function(tf.TensorSpec((7, 5))).graph.get_operations()
    assert [op.type for op in operations if op.type.startswith("ResourceApply")]
    large = {op.type for op in operations for x in op.outputs if x.shape == (7, 5)}
    assert large <= {"Placeholder", "Identity", "IdentityN"}
