"""The cross-validated AUC and its interval against plain loops, with classifiers that are known beforehand."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import roc_auc_score
from sklearn.svm import SVC

from eqviz.analysis.two_sample import INTERVAL, Told, default_classifier, told_apart


class FirstFeature(ClassifierMixin, BaseEstimator):
    """Learns nothing; its score is the first feature."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def decision_function(self, X):
        return X[:, 0]


class Probability(ClassifierMixin, BaseEstimator):
    """The same order as probabilities of the second class."""

    def fit(self, X, y):
        return self

    def predict_proba(self, X):
        p = 1 / (1 + np.exp(-X[:, 0]))
        return np.stack([1 - p, p], axis=1)


def sample(n=40, shift=0.7, seed=0):
    rng = np.random.default_rng(seed)
    # rounded, so that there are ties
    return rng.normal(size=(n, 3)).round(1), (rng.normal(size=(n, 3)) + shift).round(1)


def reference(originals, copies, kin, folds):
    """AUC and standard error of the score "first feature", one pair after another."""
    n, k = len(originals), len(set(folds))
    above, below = np.zeros(n), np.zeros(n)
    for i in range(n):
        others = [j for j in range(n) if j != i and folds[j] == folds[i]]
        above[i] = np.mean([np.heaviside(copies[j, 0] - originals[i, 0], 0.5) for j in others])
        below[i] = np.mean([np.heaviside(copies[i, 0] - originals[j, 0], 0.5) for j in others])
    sums = {}
    for i in range(n):
        influence = above[i] + below[i] - 2 * np.mean([above[j] for j in range(n) if folds[j] == folds[i]])
        sums[kin[i]] = sums.get(kin[i], 0.0) + influence
    c = len(sums)
    variance = sum(value**2 for value in sums.values()) * c / (c - 1) / n**2
    return above.mean(), np.sqrt(variance * (1 + k / (k - 1)))


@pytest.mark.parametrize("classifier", [FirstFeature(), Probability()])
@pytest.mark.parametrize("kin", [np.arange(40), np.arange(40) // 2])
def test_auc_and_interval_against_a_plain_loop(classifier, kin):
    originals, copies = sample()
    folds = kin % 4
    told = told_apart(originals, copies, kin, folds, classifier)
    auc, error = reference(originals, copies, kin, folds)
    # the same sums in another order
    assert told.auc == pytest.approx(auc, rel=1e-12)
    assert (told.high - told.low) / 2 == pytest.approx(1.959964 * error, rel=1e-6)
    assert told.interval == INTERVAL
    assert told.lowest_fold <= told.auc <= told.highest_fold


def test_the_auc_of_a_fold_is_that_of_sklearn_but_for_own_copies():
    originals, copies = sample()
    folds = np.arange(40) % 2
    told = told_apart(originals, copies, np.arange(40), folds, FirstFeature())
    whole = []
    for fold in (0, 1):
        scores = np.concatenate([originals[folds == fold, 0], copies[folds == fold, 0]])
        own = np.heaviside(copies[folds == fold, 0] - originals[folds == fold, 0], 0.5).mean()
        # of 20 x 20 pairs 20 are an image with its own copy
        whole.append((20 * roc_auc_score(np.repeat([0, 1], 20), scores) - own) / 19)
    assert (told.lowest_fold, told.highest_fold) == pytest.approx((min(whole), max(whole)), rel=1e-12)


def test_an_image_is_judged_without_having_been_learned():
    learned = []

    class Spy(FirstFeature):
        def fit(self, X, y):
            learned.append(set(X[:, 1]))
            return super().fit(X, y)

        def decision_function(self, X):
            assert not learned[-1] & set(X[:, 1])
            return super().decision_function(X)

    number = np.arange(30.0)
    images = np.stack([np.zeros(30), number], axis=1)
    told_apart(images, images, np.arange(30), np.arange(30) % 5, Spy())
    assert len(learned) == 5
    assert all(len(seen) == 24 for seen in learned)


def test_images_that_are_all_alike_are_at_chance_without_a_warning():
    same = np.full((20, 4), 0.25)
    told = told_apart(same, same, np.arange(20), np.arange(20) % 5)
    assert (told.auc, told.low, told.high) == (0.5, 0.5, 0.5)


def test_folds_too_small_to_compare_have_no_value():
    originals, copies = sample(5)
    told = told_apart(originals, copies, np.arange(5), np.array([0, 0, 0, 0, 1]))
    assert told.interval == Told().interval == "none"
    assert np.isnan([told.auc, told.low, told.high]).all()


def test_more_kin_make_the_interval_wider():
    originals, copies = sample(40)
    folds = (np.arange(80) // 2) % 5
    twice = [np.repeat(part, 2, axis=0) for part in (originals, copies)]
    alone = told_apart(*twice, np.arange(80), folds, FirstFeature())
    together = told_apart(*twice, np.arange(80) // 2, folds, FirstFeature())
    assert together.auc == alone.auc
    # pairs of identical images: the sum of two equal influences has twice their variance; 79/80 and 39/40 differ by 1%
    assert (together.high - together.low) / (alone.high - alone.low) == pytest.approx(np.sqrt(2), rel=0.01)


def test_the_default_sees_more_than_single_pixels():
    rng = np.random.default_rng(1)
    signs = rng.choice([-1.0, 1.0], size=(2, 150))
    noise = 0.3 * rng.normal(size=(4, 150))
    # originals lie on one diagonal, copies on the other: each pixel alone has the same distribution in both
    originals = np.stack([signs[0] + noise[0], signs[0] + noise[1]], axis=1)
    copies = np.stack([signs[1] + noise[2], -signs[1] + noise[3]], axis=1)
    image = np.arange(150)
    assert told_apart(originals, copies, image, image % 5).auc > 0.95
    assert abs(told_apart(originals, copies, image, image % 5, SVC(kernel="linear")).auc - 0.5) < 0.15
    assert default_classifier(10, 4).steps[0][1].n_components == 4
