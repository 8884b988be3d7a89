"""The tables of the analyses in depth, as methods of a folder of runs."""

from abc import ABC, abstractmethod

import pandas as pd


class TablesInDepth(ABC):
    """Causes, consequences and evidence: who breaks the symmetry, and whether the network uses the broken part.

    Every table is made when it is first asked for, and kept.
    """

    @abstractmethod
    def analysed(self, name: str) -> pd.DataFrame:
        """The table of an analysis of every checkpoint."""

    @abstractmethod
    def derived(self, name: str) -> pd.DataFrame:
        """A table that follows from others."""

    def local_defect(self) -> pd.DataFrame:
        """Which layers break the symmetry by themselves, fed with their moved actual input; culprits ranked."""
        return self.analysed("local_defect")

    def local_defect_summary(self) -> pd.DataFrame:
        """Local defect beside cumulative error by layer, over seeds."""
        return self.derived("local_defect_summary")

    def patching(self) -> pd.DataFrame:
        """Accuracy with the breaking component of one layer scaled from 0 (taken out) to 2."""
        return self.analysed("patching")

    def patching_summary(self) -> pd.DataFrame:
        """The same over seeds."""
        return self.derived("patching_summary")

    def upright_gain(self) -> pd.DataFrame:
        """Whether the broken parts carry the upright accuracy that approximate networks gain over their exact twin."""
        return self.derived("upright_gain")

    def function_split(self) -> pd.DataFrame:
        """Symmetric and anti-symmetric part of the scores: norms, accuracy of each, loss gap."""
        return self.analysed("function_split")

    def function_split_summary(self) -> pd.DataFrame:
        """The same over seeds."""
        return self.derived("function_split_summary")

    def probes(self) -> pd.DataFrame:
        """How well a linear probe reads the group element, or the class, from the parts of a layer."""
        return self.analysed("probes")

    def probes_summary(self) -> pd.DataFrame:
        """The same over seeds."""
        return self.derived("probes_summary")

    def attribution(self) -> pd.DataFrame:
        """Whether explanations turn with the image, by method and layer; ties in maximum pools counted."""
        return self.analysed("attribution")

    def attribution_summary(self) -> pd.DataFrame:
        """The same over seeds."""
        return self.derived("attribution_summary")

    def breaking_attribution(self) -> pd.DataFrame:
        """Which pixels break the symmetry: the breaking of a layer attributed to them, and the share at the edge."""
        return self.analysed("breaking_attribution")

    def lie_derivative(self) -> pd.DataFrame:
        """Local equivariance error under infinitesimal rotation, translation and scaling, by layer."""
        return self.analysed("lie_derivative")

    def lie_derivative_summary(self) -> pd.DataFrame:
        """The same over seeds."""
        return self.derived("lie_derivative_summary")

    def learned_action(self) -> pd.DataFrame:
        """Held-out error of the best permutation, orthogonal and ridge map from the features of x to those of g x."""
        return self.analysed("learned_action")

    def learned_action_summary(self) -> pd.DataFrame:
        """The same over seeds."""
        return self.derived("learned_action_summary")

    def orbit_plane(self) -> pd.DataFrame:
        """Orbits of some images in the plane of the first two principal components of a layer."""
        return self.analysed("orbit_plane")

    def cka(self) -> pd.DataFrame:
        """Linear CKA between the features of x and those of g x, by layer."""
        return self.analysed("cka")

    def cka_summary(self) -> pd.DataFrame:
        """The same over seeds."""
        return self.derived("cka_summary")

    @abstractmethod
    def twin_cka(self) -> pd.DataFrame:
        """Linear CKA between each network and its exact twin on the same images, by layer."""

    def twin_cka_summary(self) -> pd.DataFrame:
        """The same over seeds."""
        return self.derived("twin_cka_summary")

    def orientation_selectivity(self) -> pd.DataFrame:
        """How the fibre content of a layer spreads over irreps: its selectivity for orientation, not its breaking."""
        return self.analysed("orientation_selectivity")

    def orientation_selectivity_summary(self) -> pd.DataFrame:
        """The same over seeds."""
        return self.derived("orientation_selectivity_summary")

    @abstractmethod
    def data_symmetry(self) -> pd.DataFrame:
        """How well a classifier tells the training images from moved copies: all of them, and class by class."""

    def data_symmetry_summary(self) -> pd.DataFrame:
        """The same over seeds."""
        return self.derived("data_symmetry_summary")

    def symmetry_match(self) -> pd.DataFrame:
        """The symmetry of the data beside the breaking of the networks trained on them: one row a run."""
        return self.derived("symmetry_match")

    @abstractmethod
    def training_summary(self) -> pd.DataFrame:
        """Breaking, upright and rotated accuracy over the saved epochs, the untrained network first."""

    @abstractmethod
    def stage_errors(self) -> pd.DataFrame:
        """The error after every stage at all saved epochs, under the disc mask and without: the paper's L1 and ratios.

        The stages are the stem, containers with a declared field type such as `layers.1` of the ResNets, and the
        output; for networks without such containers all convolutions, pools and blocks.
        """

    def stage_errors_summary(self) -> pd.DataFrame:
        """The same over seeds, one row a measure."""
        return self.derived("stage_errors_summary")

    def benchmarks(self) -> pd.DataFrame:
        """Accuracy upright and rotated of every network over seeds, with its verdict and number of parameters."""
        return self.derived("benchmarks")

    def accuracy_by_images(self) -> pd.DataFrame:
        """Accuracy upright and rotated by the number of training images, over seeds."""
        return self.derived("accuracy_by_images")

    def comparisons(self) -> pd.DataFrame:
        """Tests between networks over seeds: Welch and paired, effect sizes, bootstrap intervals, Holm correction."""
        return self.derived("comparisons")

    def significance(self) -> pd.DataFrame:
        """One row a network: mean and deviation of every metric, with letters for what differs significantly."""
        return self.derived("significance")

    def findings(self) -> pd.DataFrame:
        """What the analyses in depth found of each network: one row a network."""
        return self.derived("findings")
