"""What happened in training, epoch by epoch."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class History:
    """Record of a fit.

    Attributes
    ----------
    train_nats, validation_nats : list of float
        Mean log-likelihood of each epoch in the units of X; validation only where rows were held
        out.
    learning_rate : list of float
        Of each epoch's last step.
    seconds : list of float
        Since the fit's start.
    best_epoch : int
        Epoch whose weights were kept, from 1; 0 means those before the first epoch.
    n_rollbacks : int
        How often a non-finite loss sent training back to the best weights.
    interrupted : bool
        Whether the user stopped the fit.
    """

    train_nats: list[float] = field(default_factory=list)
    validation_nats: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    best_epoch: int = 0
    n_rollbacks: int = 0
    interrupted: bool = False

    @property
    def n_epochs(self) -> int:
        return len(self.train_nats)

    @property
    def monitored(self) -> list[float]:
        """The nats that early stopping looks at."""
        return self.validation_nats or self.train_nats

    @property
    def best_score(self) -> float | None:
        """The best validation nats; None without validation rows."""
        return max(self.validation_nats) if self.validation_nats else None
