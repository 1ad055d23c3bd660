"""Measure collapse inside a training loop of your own; nothing in the loop has to change.

Run it with ``python examples/own_training_loop.py``; it takes a few seconds. Measuring leaves parameters, training
flags, hooks and the state of the random generators as they were: the network trains to the same bits with or without.
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from collapselab import feature_tap, measure

WATCHED = ("nc1_pinv", "etf_error", "nc3_duality", "nc4_disagreement")


def main(epochs: int = 40) -> None:
    """Train a small network on digits and print four metrics as it goes."""
    torch.manual_seed(0)
    digits = load_digits()
    x, y = torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target)
    data = TensorDataset(x[:1200], y[:1200])
    training = DataLoader(data, batch_size=128, shuffle=True, drop_last=True)
    measuring = DataLoader(data, batch_size=600)  # every sample once, in order

    model = nn.Sequential(nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 10))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=2e-3)
    tap = feature_tap(model)  # finds the classifier with the first batch and remembers it

    print("epoch  " + "  ".join(f"{name:>16}" for name in WATCHED))
    for epoch in range(1, epochs + 1):
        for inputs, labels in training:
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(inputs), labels).backward()
            optimiser.step()
        if epoch in (1, 2, 5, 10, 20, epochs):
            result = measure(model, measuring, layer=tap, metrics=WATCHED, split="train")
            print(f"{epoch:5d}  " + "  ".join(f"{result[name]:16.3g}" for name in WATCHED))


if __name__ == "__main__":
    main()
