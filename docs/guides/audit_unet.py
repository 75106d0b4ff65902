"""Train a U-Net of diffusers on some digits and audit it: python docs/guides/audit_unet.py IMAGES STEPS"""

import sys
from pathlib import Path

import diffusers
import jax
import matplotlib.pyplot as plt
import numpy as np
import torch

import dispersed
from dispersed.datasets import load_digits
from dispersed.interop import from_diffusers

BATCH, SAMPLES = 32, 1000
FIGURES = Path(__file__).parent.parent / "images"


def trained(images, unet, scheduler, steps):
    """Training as in the documentation of diffusers: the noise is predicted."""
    optimiser = torch.optim.AdamW(unet.parameters(), lr=2e-3)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, steps)
    for step in range(steps):
        y = images[torch.randint(len(images), (BATCH,))]
        t = torch.randint(scheduler.config.num_train_timesteps, (BATCH,))
        noise = torch.randn_like(y)
        found = unet(scheduler.add_noise(y, noise, t), t).sample
        loss = torch.nn.functional.mse_loss(found, noise)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        rate.step()
        if (step + 1) % 500 == 0:
            print(f"step {step + 1}: loss {loss.item():.3f}", flush=True)
    return unet.eval()


def main(images, steps):
    torch.manual_seed(0)
    digits = np.random.default_rng(0).permutation(np.asarray(load_digits()[0]))
    train, held_out = digits[:images], digits[200:]
    unet = diffusers.UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        block_out_channels=(24, 48),
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=8,
    )
    scheduler = diffusers.DDPMScheduler()
    trained(torch.tensor(train.reshape(-1, 1, 8, 8)), unet, scheduler, steps)

    memory = from_diffusers(unet, scheduler)
    sigma = memory.levels[1]
    start = sigma * jax.random.normal(jax.random.key(1), (SAMPLES, 64))
    solver = dispersed.ExponentialIntegrator(40, sigma_min=0.02)
    samples = np.asarray(dispersed.recall(memory, start, solver, sigma=sigma).x)

    found = dispersed.audit(
        train, samples, held_out, model=memory, key=jax.random.key(2)
    )
    print(found.verdict)
    print(
        f"memorised {found.memorised:.1%}, repeated but no copies {found.spurious:.1%}, "
        f"neither {found.generalised:.1%}"
    )
    print("the three patterns copied most often:", found.copied_patterns[:3])
    names = list(found.network.rows()[0])
    print("  ".join(names))
    for row in found.network.rows():
        print(
            "  ".join(
                f"{row[name]:>{len(name)}.3f}"
                if row[name] is not None
                else " " * len(name)
                for name in names
            )
        )
    draw(found, train, samples)


def draw(found, train, samples):
    """Copies above their patterns, other samples above the nearest ones, and the gap at each noise level."""
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(9, 3.2), width_ratios=(3, 2), layout="constrained"
    )
    called = [copy.sample for copy in found.copies]
    other = [i for i in range(len(samples)) if i not in set(called)]
    columns = 10
    tiles = []
    for chosen in (called[:: max(1, len(called) // columns)], other):
        chosen = np.array((chosen + [None] * columns)[:columns], object)
        for states in (samples, train):
            tiles.append(
                [
                    np.full((9, 9), -1.0)
                    if i is None
                    else np.pad(
                        (
                            states[i]
                            if states is samples
                            else states[found.samples.pattern[i]]
                        ).reshape(8, 8),
                        (0, 1),
                        constant_values=-1,
                    )
                    for i in chosen
                ]
            )
    left.imshow(np.block(tiles), cmap="gray_r", vmin=-1, vmax=1)
    left.set_xticks([])
    left.set_yticks(
        [4, 13, 22, 31], ["copies", "their patterns", "other samples", "nearest"]
    )
    left.spines[:].set_visible(False)
    left.tick_params(length=0)
    rows = found.network
    right.loglog(rows.sigma, rows.gap_train, "o-", label="training images")
    right.loglog(rows.sigma, rows.gap_held_out, "s--", label="held-out images")
    right.xaxis.set_minor_formatter("")
    right.yaxis.set_minor_formatter("")
    right.set_xlabel("noise level σ")
    right.set_ylabel("distance from the exact denoiser")
    right.legend(frameon=False)
    figure.suptitle(
        f"A U-Net trained on {len(train)} digits: what it copies, and where it differs"
    )
    figure.savefig(FIGURES / f"audit_unet_{len(train)}.png", dpi=110)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
