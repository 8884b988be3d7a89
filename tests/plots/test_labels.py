import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from eqviz.errors import EqvizError
from eqviz.plots.labels import chosen, model_label, network_label, networks
from eqviz.plots.legend import above, across, apart, columns_that_fit
from eqviz.plots.styles import OTHERS, SHADES, family
from eqviz.plots.theme import figure


def table(*pairs):
    return pd.DataFrame(pairs, columns=["model", "input_size"])


def test_order_is_stable_with_plain_networks_last():
    rows = [("z2cnn", 16), ("p4cnn", 100), ("p4mcnn", 16), ("p4cnn", 16), ("p4cnn", 16)]
    expected = ["P4 CNN, 16 px", "P4 CNN, 100 px", "P4M CNN, 16 px", "Z2 CNN, 16 px"]
    assert [network.label for network in networks(table(*rows))] == expected
    assert networks(table(*rows)) == networks(table(*reversed(rows)))


def test_groups_stand_together():
    made = networks(table(("p4mresnet8", 32), ("z2resnet8", 32), ("p4resnet8", 32), ("mine", 32)))
    assert [network.model for network in made] == ["p4resnet8", "p4mresnet8", "mine", "z2resnet8"]


def test_styles_differ_in_colour_marker_and_dash():
    made = networks(table(("p4cnn", 15), ("p4cnn", 16), ("p4cnn", 17), ("z2cnn", 16)))
    for part in ("colour", "marker", "dash"):
        assert len({getattr(network, part) for network in made}) == 4
    red, green, blue = (int(made[-1].colour[i : i + 2], 16) for i in (1, 3, 5))
    assert red == green == blue


def test_many_networks_never_share_a_whole_style():
    made = networks(table(*(("p4cnn", size) for size in range(20, 50))))
    assert len({(network.colour, network.marker) for network in made}) == 30


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("p4mresnet18", "P4M ResNet18"),
        ("z2resnet44", "Z2 ResNet44"),
        ("p4_cnn", "P4 CNN"),
        ("p4unet", "p4unet"),
        ("p4conv", "P4 conv"),
        ("p4mconv", "P4M conv"),
        ("p4resnet8", "P4 ResNet8"),
        ("z2resnet8", "Z2 ResNet8"),
    ],
)
def test_names_for_people(name, label):
    assert model_label(name) == label


def test_sizes_may_be_texts():
    (network,) = networks(table(("mine", "28x32")))
    assert network.label == network_label("mine", "28x32") == "mine, 28×32 px"
    assert len(network.rows(table(("mine", "28x32"), ("mine", "28x28")))) == 1


def test_given_styles_hold_for_a_smaller_table():
    everything = networks(table(("p4cnn", 15), ("p4cnn", 16), ("z2cnn", 16)))
    assert chosen(table(("p4cnn", 16)), everything) == (everything[1],)


def test_a_table_without_networks_is_refused():
    with pytest.raises(EqvizError, match="input_size"):
        networks(pd.DataFrame({"model": ["p4cnn"]}))


def test_legend_has_the_columns_that_fit_and_is_left_out_when_empty():
    made, (ax,) = figure(85, 60)
    handles = [network.handle() for network in networks(table(("p4cnn", 15), ("p4cnn", 16), ("z2cnn", 16)))]
    assert above(ax, []) is None
    assert [text.get_text() for text in above(ax, handles).get_texts()] == [h.get_label() for h in handles]
    assert columns_that_fit(handles, 1e4) == 3
    assert columns_that_fit(handles, 1) == 1
    assert len(across(made, networks(table(("p4cnn", 15)))).get_texts()) == 1


def test_direct_labels_need_room():
    _, (ax,) = figure(85, 60)
    ax.set_ylim(0, 100)
    assert apart(ax, [10, 50, 90])
    assert not apart(ax, [10, 50, 51])


def networks_table(*rows):
    return pd.DataFrame(rows, columns=["model", "input_size", "data", "exact"])


EXACT_AND_NOT = [
    ("p4cnn", 15, "digits", "no"), ("p4cnn", 16, "digits", "yes"), ("p4cnn", 17, "digits", "no"),
    ("z2cnn", 16, "digits", "no"), ("p4cnn", 27, "mnist", "no"), ("p4cnn", 28, "mnist", "yes"),
    ("p4mresnet8", 32, "cifar10", "no"), ("p4mresnet8", 33, "cifar10", "yes"),
]  # fmt: skip


def by_name(table):
    return {(network.model, network.input_size): network for network in networks(table)}


def test_exact_sizes_are_solid_in_the_darkest_shade_of_their_group_and_others_are_not():
    made = by_name(networks_table(*EXACT_AND_NOT))
    for model, size, _, exact in EXACT_AND_NOT:
        shades = SHADES[family(model)]
        if model != "z2cnn":
            assert (made[model, size].colour == shades[0]) == (exact == "yes")
            assert (made[model, size].dash == "-") == (exact == "yes")
        assert made[model, size].colour in shades


def test_a_network_looks_the_same_whatever_else_is_in_the_gallery():
    alone = by_name(networks_table(*EXACT_AND_NOT[:4]))
    assert alone.items() <= by_name(networks_table(*EXACT_AND_NOT)).items()


def test_models_on_the_same_data_never_share_colour_and_marker():
    names = [
        f"p4resnet8(head={head}, separable={kind})" for head in ("coset_max", "flatten") for kind in ("", "g", "gc")
    ]
    rows = [(name, size, "cifar10", "yes" if size == 33 else "no") for name in names for size in (32, 33)]
    made = networks(networks_table(*rows))
    assert len({(network.colour, network.marker) for network in made}) == len(rows)
    assert len({network.label for network in made}) == len(rows)


def test_shades_differ_in_lightness_so_that_grey_print_keeps_them():
    for shades in (*SHADES.values(), *OTHERS):
        dark, middle, light = (luminance(shade) for shade in shades)
        # in CIE L*, 0 black to 100 white: a step of 9 is seen at a glance
        assert middle - dark > 9
        assert light - middle > 9
        assert light < 66  # names are written in these colours: a contrast of 2.7 and more on white


def luminance(colour):
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(colour)]
    return 116 * (0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]) ** (1 / 3) - 16


def test_tables_of_layers_do_not_say_which_networks_are_exact():
    rows = networks_table(*EXACT_AND_NOT[:3]).assign(layer="conv1", exact="yes")
    assert len({network.colour for network in networks(rows)}) == 3


def test_unknown_models_have_a_hue_of_their_own():
    made = networks(table(("mine", 28), ("theirs", 28), ("p4cnn", 28), ("z2cnn", 28)))
    assert len({network.colour for network in made}) == 4
