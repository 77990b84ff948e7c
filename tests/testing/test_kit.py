"""The kit itself: every mutant, an object with one fault, is caught by a named check."""

import math

import pytest
import torch
from torch import nn

from densekit import _kernels as kernels
from densekit.densities import MADE, Normal
from densekit.densities.likelihoods import Bernoulli
from densekit.elementwise import Affine, Spline
from densekit.images import PixelCNN
from densekit.networks import masked_mlp
from densekit.testing import (
    DensityCase,
    ElementwiseCase,
    TransformCase,
    checks_for,
    run_checks,
)
from densekit.transforms import Autoregressive, Transform


class Scaled(Transform):
    """A correct layer, from which most mutants are made: z = x * exp(log_scale) + shift."""

    def __init__(self, event_shape=(3,), *, context_shape=None):
        super().__init__(event_shape, context_shape=context_shape)
        self.log_scale = nn.Parameter(torch.zeros(event_shape))
        self.shift = nn.Parameter(torch.zeros(event_shape))

    def forward(self, x, context=None):
        return x * self.log_scale.exp() + self.shift, self.log_scale.sum().expand(len(x))

    def inverse(self, z, context=None):
        return (z - self.shift) * torch.exp(-self.log_scale), -self.log_scale.sum().expand(len(z))


class NegatedLogDet(Scaled):
    def forward(self, x, context=None):
        z, log_det = super().forward(x)
        return z, -log_det

    def inverse(self, z, context=None):
        x, log_det = super().inverse(z)
        return x, -log_det


class ZeroLogDet(Scaled):
    def forward(self, x, context=None):
        z, log_det = super().forward(x)
        return z, 0 * log_det

    def inverse(self, z, context=None):
        x, log_det = super().inverse(z)
        return x, 0 * log_det


class DoubledLogDet(Scaled):
    def forward(self, x, context=None):
        z, log_det = super().forward(x)
        return z, 2 * log_det

    def inverse(self, z, context=None):
        x, log_det = super().inverse(z)
        return x, 2 * log_det


class EpsilonInsideLog(Scaled):
    def forward(self, x, context=None):
        z, _ = super().forward(x)
        return z, (self.log_scale.exp() + 1e-4).log().sum().expand(len(x))


class ScalarLogDet(Scaled):
    def forward(self, x, context=None):
        z, log_det = super().forward(x)
        return z, log_det.sum() / len(x)


class KeepdimLogDet(Scaled):
    def forward(self, x, context=None):
        z, log_det = super().forward(x)
        return z, log_det[:, None]


class Float32LogDet(Scaled):
    def forward(self, x, context=None):
        z, log_det = super().forward(x)
        return z, torch.zeros(len(x)) + log_det.float()


class RoundedLogDet(Scaled):
    def forward(self, x, context=None):
        z, log_det = super().forward(x)
        return z, log_det.float().to(x.dtype)


class DetachedLogDet(Scaled):
    def forward(self, x, context=None):
        z, log_det = super().forward(x)
        return z, log_det.detach()


class BatchNormInTraining(Scaled):
    def forward(self, x, context=None):
        if self.training and len(x):
            x = x - x.mean(0)
        return super().forward(x)


class ContextInPlace(Scaled):
    def __init__(self):
        super().__init__((3,), context_shape=(3,))

    def forward(self, x, context=None):
        z, log_det = super().forward(x + context)
        context *= 0.5
        return z, log_det

    def inverse(self, z, context=None):
        x, log_det = super().inverse(z)
        return x - 2 * context, log_det


class InPlace(Scaled):
    def forward(self, x, context=None):
        with torch.no_grad():
            x += 0.5
        return super().forward(x)

    def inverse(self, z, context=None):
        x, log_det = super().inverse(z)
        return x - 0.5, log_det


class BatchMeanSubtracted(Scaled):
    def forward(self, x, context=None):
        return super().forward(x - x.mean(0) if len(x) else x)


class UnusedParameter(Scaled):
    def __init__(self):
        super().__init__()
        self.spare = nn.Parameter(torch.zeros(2))


class CountsItsCalls(Scaled):
    def __init__(self):
        super().__init__()
        self.register_buffer("n_calls", torch.zeros(()))

    def forward(self, x, context=None):
        self.n_calls += 1
        return super().forward(x)


class RandomInEvaluation(Scaled):
    def forward(self, x, context=None):
        return super().forward(x + 1e-3 * torch.rand_like(x))


class PermutationOutsideState(Scaled):
    def __init__(self):
        super().__init__()
        self.permutation = torch.randperm(3).tolist()

    def forward(self, x, context=None):
        z, log_det = super().forward(x)
        return z[:, self.permutation], log_det

    def inverse(self, z, context=None):
        back = torch.argsort(torch.tensor(self.permutation))
        return super().inverse(z[:, back])


class ConstantIsNoBuffer(Scaled):
    def __init__(self):
        super().__init__()
        self.offset = torch.ones(3, dtype=torch.float64)

    def forward(self, x, context=None):
        return super().forward(x + self.offset.to(x.dtype))

    def inverse(self, z, context=None):
        x, log_det = super().inverse(z)
        return x - self.offset.to(x.dtype), log_det


class ContextIgnored(Scaled):
    def __init__(self):
        super().__init__((3,), context_shape=(2,))


class InverseIsForward(Scaled):
    def inverse(self, z, context=None):
        return self.forward(z)


class OverflowsFarOut(Transform):
    def __init__(self):
        super().__init__((2,))
        self.steepness = nn.Parameter(torch.zeros(()))

    def forward(self, x, context=None):
        slope = self.steepness.exp()
        return torch.sinh(x * slope), (torch.cosh(x * slope).log() + self.steepness).sum(1)

    def inverse(self, z, context=None):
        x = torch.asinh(z) / self.steepness.exp()
        _, log_det = self.forward(x)
        return x, -log_det


class MaskForgotten(Autoregressive):
    def __init__(self):
        super().__init__((3,))
        for layer in self.network.modules():
            if isinstance(layer, masked_mlp.MaskedLinear):
                layer.mask.fill_(1)


class BrokenStatistics(Scaled):
    def fit_statistics(self, x):
        with torch.no_grad():
            self.log_scale.fill_(-math.inf)


class NotForEmptyBatches(Scaled):
    """A layer around code that cannot work without rows: the base class answers for it."""

    def forward(self, x, context=None):
        return super().forward(x.reshape(len(x), -1))


def test_layers_need_not_know_of_empty_batches():
    run_checks(TransformCase("NotForEmptyBatches", NotForEmptyBatches))


class FirstContextForAll(Scaled):
    def __init__(self):
        super().__init__((3,), context_shape=(3,))

    def forward(self, x, context=None):
        return super().forward(x + context[:1])

    def inverse(self, z, context=None):
        x, log_det = super().inverse(z)
        return x - context[:1], log_det


class WrongWithoutGradients(Scaled):
    def inverse(self, z, context=None):
        x, log_det = super().inverse(z)
        return (x if torch.is_grad_enabled() else x + 0.01), log_det


class SeedsTorch(Scaled):
    def forward(self, x, context=None):
        torch.manual_seed(0)
        return super().forward(x)


class ChangesTheTrainingRows(Scaled):
    def fit_statistics(self, x):
        x += 1


class FastPathDrifts(Scaled):
    """Right in itself on either path, but not the same map on both."""

    def _moved(self, x):
        return self.shift + 1e-3 * kernels.is_usable(x)

    def forward(self, x, context=None):
        z, log_det = super().forward(x)
        return z - self.shift + self._moved(x), log_det

    def inverse(self, z, context=None):
        return super().inverse(z + self.shift - self._moved(z))


class StepsForgetTheShift(Scaled):
    """Right in its plain way, and with compiled steps of another map."""

    def compiled_steps(self, workspace, *, learns):
        nothing = nn.Parameter(torch.zeros_like(self.shift))
        return [kernels.ColumnStep(nothing, self.log_scale, learns=learns)]


TRANSFORM_MUTANTS = {
    StepsForgetTheShift: "check_fast_path_is_the_plain_one",
    FastPathDrifts: "check_fast_path_is_the_plain_one",
    FirstContextForAll: "check_rows_are_independent",
    WrongWithoutGradients: "check_evaluation_is_pure",
    SeedsTorch: "check_evaluation_is_pure",
    ChangesTheTrainingRows: "check_statistics_keep_the_bijection",
    NegatedLogDet: "check_log_det_is_that_of_autograd",
    ZeroLogDet: "check_log_det_is_that_of_autograd",
    DoubledLogDet: "check_log_det_is_that_of_autograd",
    EpsilonInsideLog: "check_log_det_is_that_of_autograd",
    MaskForgotten: "check_log_det_is_that_of_autograd",
    ScalarLogDet: "check_shapes",
    KeepdimLogDet: "check_shapes",
    Float32LogDet: "check_dtype_is_kept",
    RoundedLogDet: "check_log_det_is_that_of_autograd",
    DetachedLogDet: "check_gradients_are_those_of_differences",
    BatchNormInTraining: "check_rows_are_independent",
    ContextInPlace: "check_input_is_unchanged",
    InPlace: "check_input_is_unchanged",
    BatchMeanSubtracted: "check_rows_are_independent",
    UnusedParameter: "check_every_parameter_gets_a_gradient",
    CountsItsCalls: "check_evaluation_is_pure",
    RandomInEvaluation: "check_evaluation_is_pure",
    PermutationOutsideState: "check_state_dict_holds_everything",
    ConstantIsNoBuffer: "check_constants_are_buffers",
    ContextIgnored: "check_context_matters",
    InverseIsForward: "check_round_trip",
    OverflowsFarOut: "check_finite_far_out",
    BrokenStatistics: "check_statistics_keep_the_bijection",
}


class DecreasingMap(Affine):
    def forward(self, x, params):
        z, log_slope = super().forward(-x, params)
        return z, log_slope

    def inverse(self, z, params):
        x, log_slope = super().inverse(z, params)
        return -x, log_slope


class WrongSlope(Affine):
    def forward(self, x, params):
        z, log_slope = super().forward(x, params)
        return z, log_slope + 1e-4


class JumpsAtItsEdge(Spline):
    def forward(self, x, params):
        z, log_slope = super().forward(x, params)
        return torch.where(x >= self.bound, z + 0.1, z), log_slope

    def inverse(self, z, params):
        return super().inverse(torch.where(z >= self.bound + 0.1, z - 0.1, z), params)


class FirstParametersForAll(Affine):
    def forward(self, x, params):
        return super().forward(x, params[:1])

    def inverse(self, z, params):
        return super().inverse(z, params[:1])


ELEMENTWISE_MUTANTS = {
    FirstParametersForAll: "check_elements_are_independent",
    DecreasingMap: "check_monotone",
    WrongSlope: "check_slope_is_the_derivative",
    JumpsAtItsEdge: "check_continuous",
}


class Unnormalized(Normal):
    def log_prob(self, x, context=None):
        return super().log_prob(x) + 0.01


class SamplesTooWide(Normal):
    def sample(self, n_samples, context=None, *, generator=None):
        return 1.1 * super().sample(n_samples, generator=generator)


class SamplesFromTheGlobalGenerator(Normal):
    def sample(self, n_samples, context=None, *, generator=None):
        return torch.randn(n_samples, *self.event_shape, dtype=self.anchor.dtype)


class TermsLeftOut(Normal):
    def log_prob_terms(self, x, context=None):
        return -0.5 * x.square()


class SeesItself(MADE):
    """A mask of type B in the first layer: a bit is predicted from itself."""

    def __init__(self):
        super().__init__((3,), likelihood=Bernoulli())
        first = self.network.hidden[0]
        degree = torch.linspace(0, 2, first.mask.shape[0]).round()
        first.mask.copy_((degree[:, None] >= self.network.place[None, :]).to(first.mask))


class SeesItsPixel(PixelCNN):
    """A mask of type B in the first layer: a pixel is predicted from itself."""

    def __init__(self):
        super().__init__((1, 2, 2), likelihood=Bernoulli(), n_levels=2, n_layers=2, n_channels=4)
        first = self.network.layers[0]
        first.horizontal = torch.nn.Conv2d(1, 8, (1, 4), bias=False)
        first.is_first = False  # the kernel then ends on the pixel itself


DENSITY_MUTANTS = {
    Unnormalized: "check_integrates_to_one",
    SamplesTooWide: "check_samples_agree_with_log_prob",
    SamplesFromTheGlobalGenerator: "check_samples_follow_the_generator",
    TermsLeftOut: "check_terms_sum_to_log_prob",
    SeesItself: "check_integrates_to_one",
    SeesItsPixel: "check_integrates_to_one",
}


def failures(case):
    """Names of the checks that a case does not pass; a crash counts as well."""
    found = []
    for check in checks_for(case):
        try:
            check(case)
        except Exception:
            found.append(check.__name__)
    return found


def test_the_correct_layer_passes():
    run_checks(TransformCase("Scaled", Scaled))


@pytest.mark.parametrize(("mutant", "check"), TRANSFORM_MUTANTS.items())
def test_transform_mutants_are_caught(mutant, check):
    assert check in failures(TransformCase(mutant.__name__, mutant))


@pytest.mark.parametrize(("mutant", "check"), ELEMENTWISE_MUTANTS.items())
def test_elementwise_mutants_are_caught(mutant, check):
    edges = (-5.0, 5.0) if issubclass(mutant, Spline) else ()
    assert check in failures(ElementwiseCase(mutant.__name__, mutant, edges=edges))


@pytest.mark.parametrize(("mutant", "check"), DENSITY_MUTANTS.items())
def test_density_mutants_are_caught(mutant, check):
    is_discrete = issubclass(mutant, MADE | PixelCNN)
    levels = (0, 1) if is_discrete else None
    build = mutant if is_discrete else lambda: mutant((2,))
    assert check in failures(DensityCase(mutant.__name__, build, levels=levels))
