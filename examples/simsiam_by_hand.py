"""SimSiam (Chen & He 2021, arXiv 2011.10566) on the embedded digits, from parts of ssl_zoo and without a recipe.

python simsiam_by_hand.py
"""

import torch

from ssl_zoo.batch import Batch, InputSpec
from ssl_zoo.data import Loader
from ssl_zoo.data.source import Split
from ssl_zoo.evaluation.features import extract
from ssl_zoo.evaluation.protocols.knn import KNN
from ssl_zoo.heads.mlp import MLP
from ssl_zoo.methods.joint_embedding import JointEmbedding
from ssl_zoo.modalities.image.encoders.convnet import ConvNet
from ssl_zoo.modalities.image.modality import ImageModality
from ssl_zoo.modalities.image.sources.digits import Digits
from ssl_zoo.modalities.image.views.augment import Augment
from ssl_zoo.objectives.objective import Objective
from ssl_zoo.objectives.similarity import NegativeCosine
from ssl_zoo.pairing.view_pairs import AllPairs
from ssl_zoo.targets.stop_gradient import StopGradient


def simsiam(spec: InputSpec, dim: int = 128) -> JointEmbedding:
    """Return the method: each part is a plain module, and any of them may be one of yours."""
    encoder = ConvNet(spec, widths=[16, 32, 64])
    projector = MLP(encoder.out_dim, dims=[dim, dim], last_norm="batch", last_affine=False)
    predictor = MLP(dim, dims=[dim // 4, dim])
    objective = Objective([("negative_cosine", 1.0, NegativeCosine())])
    return JointEmbedding(encoder, projector, predictor, StopGradient(), AllPairs(), objective)


def train(method: JointEmbedding, views: Augment, split: Split, steps: int) -> float:
    """Train for some optimizer steps, and return the mean loss of the last ten."""
    optimizer = torch.optim.SGD(method.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    loader = Loader(split, views, batch_size=64, seed=0)
    losses = []
    for step, (raw,) in enumerate(loader.iterate(0, steps), start=1):
        output = method(Batch(views(raw.payload), raw.index))
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        method.after_step(step / steps)
        losses.append(output.loss.item())
    return sum(losses[-10:]) / len(losses[-10:])


def knn(method: JointEmbedding, views: Augment, source: Digits) -> float:
    """Return the accuracy of nearest neighbours on the frozen features of digits that were held out."""
    train_features, test_features = (
        extract(method.encoder, views, source.split(name), device="cpu") for name in source.splits
    )
    return KNN()(train_features, test_features)["top1"]


def main(steps: int = 300) -> tuple[float, float]:
    """Train, and return the loss and the accuracy."""
    torch.manual_seed(0)
    views = Augment(
        channels=1, size=20, flip=0.0, jitter=1.0, brightness=0.6, contrast=0.0, saturation=0.0, hue=0.0, grey=0.0,
        blur=0.0, mean=[0.5], std=[0.5],
    )  # fmt: skip
    source = Digits(ImageModality(views.spec))
    method = simsiam(views.spec)
    before = knn(method, views, source)
    loss = train(method, views, source.split("train"), steps)
    accuracy = knn(method, views, source)
    print(f"loss {loss:.3f}, kNN accuracy {accuracy:.1%} (untrained: {before:.1%})")
    return loss, accuracy


if __name__ == "__main__":
    main()
