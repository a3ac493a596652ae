import torch

from foveal_env.randomness import draw_of_update, seeded


def test_an_update_draws_the_same_scenes_for_ever():
    _, index = draw_of_update(3, 5, 4)
    assert (
        index.tolist()
        == draw_of_update(3, 5, 4)[1].tolist()
        == [224944575868204746, 3693128836236138322, 3884492953419568131, 957518139661731338]
    )
    assert index.tolist() != draw_of_update(3, 6, 4)[1].tolist()
    assert index.tolist() != draw_of_update(4, 5, 4)[1].tolist()


def test_scenes_of_a_training_hardly_ever_come_twice():
    drawn = torch.cat([draw_of_update(0, update, 64)[1] for update in range(100)])
    assert len(drawn.unique()) == len(drawn)


def test_the_generator_goes_on_after_the_scenes():
    generators = [draw_of_update(0, 1, 4)[0] for _ in range(2)]
    assert torch.equal(*[torch.rand(3, generator=generator) for generator in generators])


def test_what_is_drawn_with_a_seed_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    wanted = torch.rand(2)
    torch.manual_seed(0)
    with seeded(7):
        first = torch.rand(2)
    assert torch.equal(torch.rand(2), wanted)
    with seeded(7):
        assert torch.equal(torch.rand(2), first)
