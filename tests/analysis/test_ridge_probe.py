"""Cross-validated probes against scikit-learn's own classifier on features, and against toys with known answers."""

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier

from eqviz.analysis.ridge_probe import (
    RIDGE,
    Question,
    ask,
    class_question,
    element_question,
    held_out_scores,
    hit_rates,
    image_folds,
)
from eqviz.errors import EqvizError

ORDER, IMAGES = 4, 30


@pytest.fixture
def random():
    return np.random.default_rng(5)


def rows_of(fold):
    return np.tile(fold, ORDER)


def test_no_image_is_on_both_sides():
    labels = np.arange(IMAGES) % 3
    fold = image_folds(labels, 5, seed=0)
    image = np.tile(np.arange(IMAGES), ORDER)
    for one in range(5):
        held_out = rows_of(fold) == one
        assert not set(image[held_out]) & set(image[~held_out])
        assert held_out.sum() == ORDER * (fold == one).sum() == ORDER * IMAGES // 5


def test_a_row_is_predicted_without_its_own_image(random):
    """Changing what an image is labelled, in all its rows, changes no prediction of it."""
    features = random.normal(size=(ORDER * IMAGES, 7))
    fold = rows_of(image_folds(np.arange(IMAGES) % 3, 5, seed=0))
    targets = random.normal(size=(ORDER * IMAGES, 2))
    before = held_out_scores(features @ features.T, targets, fold)
    own = np.arange(ORDER * IMAGES) % IMAGES == 11
    targets[own] += 100.0
    after = held_out_scores(features @ features.T, targets, fold)
    np.testing.assert_array_equal(before[own], after[own])
    assert not np.array_equal(before, after)


def test_classes_are_spread_evenly_over_folds_and_small_ones_are_no_obstacle():
    labels = np.repeat([0, 1, 2], 10)
    fold = image_folds(labels, 5, seed=1)
    assert all(np.bincount(labels[fold == one]).tolist() == [2, 2, 2] for one in range(5))
    few = np.arange(7)
    assert sorted(image_folds(few, 3, seed=1).tolist()) == [0, 0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("folds", [1, 31])
def test_folds_that_cannot_be(folds):
    with pytest.raises(EqvizError, match=f"^folds: .*{folds} folds of 30 images"):
        image_folds(np.zeros(IMAGES, dtype=np.int64), folds, seed=0)


@pytest.mark.parametrize("spread", [1e-3, 1.0, 1e4])
def test_predictions_are_those_of_a_ridge_classifier_on_the_features(random, spread):
    features = spread * random.normal(size=(ORDER * IMAGES, 50)) + 3 * spread
    labels = random.integers(0, 3, size=IMAGES)
    features[:, 0] += spread * np.tile(labels, ORDER)
    fold = rows_of(image_folds(labels, 5, seed=2))
    question = class_question(labels, fold[:IMAGES], ORDER, 3, seed=0)
    scores = held_out_scores(features @ features.T, question.targets(), fold)
    predicted = scores.reshape(len(fold), 4, 3).argmax(-1).T
    for labelling, found in zip(question.labels, predicted, strict=True):
        for one in range(5):
            seen, held_out = fold != one, fold == one
            centred = features[seen] - features[seen].mean(0)
            strength = RIDGE * (centred**2).sum(1).mean()
            reference = RidgeClassifier(alpha=strength).fit(features[seen], labelling[seen])
            np.testing.assert_array_equal(reference.predict(features[held_out]), found[held_out])


def test_elements_are_permuted_within_each_image():
    question = element_question(ORDER, IMAGES, 6, seed=0)
    by_image = question.labels.reshape(7, ORDER, IMAGES)
    assert (by_image[0] == np.arange(ORDER)[:, None]).all()
    assert (np.sort(by_image, axis=1) == np.arange(ORDER)[:, None]).all()
    assert len({labelling.tobytes() for labelling in by_image}) == 7
    assert not (by_image[1] == by_image[1][:, :1]).all()  # not one permutation for all images


def test_classes_are_permuted_over_the_images_of_a_fold():
    labels = np.array([3, 3, 7, 7, 7, 9] * 5)
    fold = image_folds(labels, 5, seed=0)
    question = class_question(labels, fold, ORDER, 6, seed=0)
    by_image = question.labels.reshape(7, ORDER, IMAGES)
    assert question.classes == 3
    assert (by_image == by_image[:, :1]).all()  # one label for all rows of an image
    assert (by_image[0, 0] == np.searchsorted([3, 7, 9], labels)).all()
    for one in range(5):
        assert (np.sort(by_image[:, 0, fold == one]) == np.sort(by_image[0, 0, fold == one])).all()
    assert len({labelling.tobytes() for labelling in by_image}) == 7


def test_equal_scores_share_the_hit():
    question = Question(np.array([[0, 1, 2]]), 3)
    scores = np.array([[1.0, 1.0, 0.0], [0.0, 2.0, 1.0], [0.5, 0.5, 0.5 - 1e-13]])
    assert hit_rates(scores, question).tolist() == pytest.approx([(1 / 2 + 1 + 1 / 3) / 3])


def test_features_that_hold_the_element_are_read_in_full_and_permuted_labels_are_not(random):
    element = np.repeat(np.eye(ORDER), IMAGES, axis=0)
    features = np.concatenate([element, random.normal(size=(ORDER * IMAGES, 3))], axis=1)
    fold = rows_of(image_folds(np.zeros(IMAGES, dtype=np.int64), 5, seed=0))
    (answer,) = ask(features @ features.T, [element_question(ORDER, IMAGES, 20, seed=0)], fold)
    assert answer.accuracy == 1.0
    assert answer.p_value == pytest.approx(1 / 21)
    assert abs(answer.baseline - 1 / ORDER) < 0.05  # 20 labellings of 120 rows: standard error below 0.01
    assert answer.baseline <= answer.baseline_high < 0.5


def test_features_that_do_not_depend_on_the_element_are_exactly_at_chance(random):
    features = np.tile(random.normal(size=(IMAGES, 6)), (ORDER, 1))
    labels = np.arange(IMAGES) % 3
    fold = image_folds(labels, 5, seed=0)
    questions = [element_question(ORDER, IMAGES, 20, seed=0), class_question(labels, fold, ORDER, 20, seed=0)]
    element, _ = ask(features @ features.T, questions, rows_of(fold))
    assert (element.accuracy, element.baseline, element.baseline_high, element.p_value) == (0.25, 0.25, 0.25, 1.0)


def test_features_that_sum_to_zero_over_the_orbit_tell_no_class(random):
    orbit = random.normal(size=(ORDER, IMAGES, 6))
    rows = (orbit - orbit.mean(0)).reshape(ORDER * IMAGES, 6)
    labels = np.arange(IMAGES) % 3
    fold = image_folds(labels, 5, seed=0)
    (answer,) = ask(rows @ rows.T, [class_question(labels, fold, ORDER, 20, seed=0)], rows_of(fold))
    assert [answer.accuracy, answer.baseline] == pytest.approx([1 / 3, 1 / 3])
    assert answer.p_value == 1.0


def test_random_features_are_within_the_permutation_baseline(random):
    labels = random.integers(0, 3, size=IMAGES)
    fold = image_folds(labels, 5, seed=0)
    questions = [element_question(ORDER, IMAGES, 40, seed=0), class_question(labels, fold, ORDER, 40, seed=0)]
    values = []
    for _ in range(20):
        features = random.normal(size=(ORDER * IMAGES, 10))
        values += [answer.p_value for answer in ask(features @ features.T, questions, rows_of(fold))]
    # p values of true null hypotheses are uniform: the mean of 40 lies within 5 standard errors of one half
    assert abs(np.mean(values) - 0.5) < 5 * np.sqrt(1 / 12 / 40)


def test_a_gram_matrix_of_zero_predicts_the_mean():
    fold = rows_of(image_folds(np.arange(IMAGES) % 3, 5, seed=0))
    question = element_question(ORDER, IMAGES, 2, seed=0)
    scores = held_out_scores(np.zeros((ORDER * IMAGES, ORDER * IMAGES)), question.targets(), fold)
    np.testing.assert_array_equal(scores, 0.25)
