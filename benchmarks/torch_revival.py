"""Makes the figures in the docstring of `leakyrelu.torch.revive`: three ways to kill units, six ways to go on."""

import argparse

from leakyrelu.torch.experiment import CURES, KILLERS, conclusion, outcomes, table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    seeds = range(parser.parse_args().seeds)
    for killer in KILLERS:
        results = [outcome for seed in seeds for outcome in outcomes(killer, seed)]
        print(f"\nKilled by {killer}, {len(seeds)} seeds\n", *table(results), "", sep="\n")
        print(*(conclusion(results, cure) for cure in list(CURES)[1:]), sep="\n", flush=True)


if __name__ == "__main__":
    main()
