# /// script
# [tool.marimo.display]
# theme = "system"
# ///
"""The lesson: one page to play with, a marimo notebook. `leakyrelu learn` serves it."""

import marimo

app = marimo.App(app_title="Leaky ReLU, by playing with it", css_file="page.css", html_head_file="head.html")


@app.cell
def _():
    import time

    import marimo as mo

    from leakyrelu.check import check_source
    from leakyrelu.demo import load_digits
    from leakyrelu.lesson import examples, exercise, fragments, training

    return (
        check_source,
        examples,
        exercise,
        fragments,
        load_digits,
        mo,
        time,
        training,
    )


@app.cell
def _(mo):
    mo.md(r"""
    # Leaky ReLU

    A neural network needs a bend somewhere: without one, all its layers together are one linear map. The
    most common bend is the ReLU, which keeps what is positive and sets all else to zero. The Leaky ReLU lets a little
    of the negative side through. On this page you move it, watch units die and come back, and write it yourself. It
    takes about fifteen minutes.

    ## 1. What it is

    $$\text{LeakyReLU}(x) = \begin{cases} x & \text{if } x \ge 0 \\ \alpha\, x & \text{if } x < 0 \end{cases}$$

    $$\text{LeakyReLU}'(x) = \begin{cases} 1 & \text{if } x \ge 0 \\ \alpha & \text{if } x < 0 \end{cases}$$

    The slope $\alpha$ (alpha) is small and positive, usually 0.01. In a network it is applied to each number of a
    layer's weighted sum: $z = W h + b$, then $a = \text{LeakyReLU}(z)$.

    Move both sliders; the arrow keys work, too.
    """)
    return


@app.cell
def _(mo):
    slope = mo.ui.slider(0, 1, 0.01, value=0.1, label="Slope alpha", show_value=True, full_width=True)
    position = mo.ui.slider(-10, 10, 0.5, value=-6, label="Input x", show_value=True, full_width=True)
    mo.vstack([slope, position])
    return position, slope


@app.cell
def _(fragments, mo, position, slope):
    mo.Html(fragments.at(slope.value, position.value))
    return


@app.cell
def _(mo):
    mo.md(r"""
    Things to try:

    - Alpha 0 is the ReLU: below zero both the value and the derivative vanish. Alpha 1 is a straight line.
    - At x = 0 there is a corner, and so no derivative. Libraries have to choose: this one and JAX say 1, PyTorch says
      alpha. Some texts count zero to the negative side: the same value, another derivative.

    ## 2. What it is like

    - Every real number can come out. It consists of two straight pieces and, for alpha above zero, never falls.
    - It is cheap: one comparison, one product.
    - Below zero the numbers are small, not off. A ReLU's output is full of exact zeros; a Leaky ReLU's is not.

    Beside its relatives (Leaky ReLU and ELU drawn with a larger alpha than usual, to be seen):
    """)
    return


@app.cell
def _(fragments, mo):
    mo.Html(fragments.relatives())
    return


@app.cell
def _(mo):
    mo.md(r"""
    **Where it is used.** In hidden layers in place of the ReLU, above all where many units die: deep convolutional
    networks, generators and discriminators of GANs, graph attention.

    | for it | against it |
    |:---|:---|
    | the gradient is never zero | a fixed slope is a guess: tune it, learn it (PReLU) or draw it (RReLU) |
    | as cheap as ReLU, and as simple | its outputs are unbounded: large ones can destabilise the training |
    | less sensitive to a bad start | the mean of its outputs is not zero |
    | | no exact zeros, so ReLU's sparsity is lost |
    | | with a small slope a unit comes back slowly |

    ## 3. A unit that dies

    Suppose a ReLU unit's weighted sum is negative on every image. It gives zero, and its gradient is zero: whatever the
    loss says, the unit does not move, unless a layer before it does. It is dead. One step too far is enough, and in
    a network that is deep and narrow it may be so from the start. The leak lets alpha times the gradient through, and
    with that the unit can find its way back.

    Here three small networks learn to read real digits, from the same weights, on the same images. Each
    has three hidden layers of 16 units; a cell is a unit. The third one is a ReLU network that is given the leak
    half-way.
    """)
    return


@app.cell
def _(mo):
    rate = mo.ui.slider(0.05, 0.6, 0.05, value=0.5, label="Learning rate", show_value=True, full_width=True)
    leak = mo.ui.slider(0.01, 0.3, 0.01, value=0.1, label="Slope of the leak", show_value=True, full_width=True)
    seed = mo.ui.slider(0, 19, value=0, label="Seed", show_value=True, full_width=True)
    start_training = mo.ui.run_button(label="Train", kind="success")
    mo.vstack([rate, leak, seed, start_training])
    return leak, rate, seed, start_training


@app.cell
def _(mo, start_training, training):
    start_training  # with each training the slider begins anew, at the end
    epoch = mo.ui.slider(
        0, training.EPOCHS, value=training.EPOCHS, label="Look back at epoch", show_value=True, full_width=True
    )
    history = []  # not reactive: what was trained stays, whatever is set above, until the next training
    return epoch, history


@app.cell
def _(epoch, fragments, history, leak, load_digits, mo, rate, seed, start_training, time, training):
    if start_training.value or len(history) < 2:
        history.clear()
        for _states in training.train(leak.value, rate.value, seed.value, load_digits()):
            history.append(_states)
            if not start_training.value:
                break  # the networks as they begin
            mo.output.replace(mo.Html(fragments.networks(history)))
            time.sleep(0.1)
    _shown = mo.Html(fragments.networks(history[: epoch.value + 1]))
    mo.vstack([_shown, epoch]) if len(history) > 1 else _shown
    return


@app.cell
def _(mo):
    mo.md(r"""
    What to look for, with what came of it over the seeds 0 to 19:

    - Large steps kill. At a learning rate of 0.5, on average 21 of the 48 ReLU units end dead; from 0.05 to 0.3 it is
      2 to 4, and 3 fire on nothing before the first step. Some death is normal, and a smaller rate is a cure, too.
    - A unit of Leaky ReLU that is above zero on no image still gets a gradient. Watch some light up again.
    - The third network has on average 16 dead units in the middle. With a slope of 0.1, 13 of them are back at the
      end; with 0.01, 5; without the leak, 2, which an earlier layer has moved.
    - Too much of it is no good, either: with a slope of 0.3 and a rate of 0.5, 10 of 20 Leaky ReLU networks overflow.
    - Where few units die, the leak changes the accuracy little. Try other seeds before you believe a difference: the
      one that is set at first was chosen because it shows the effect.

    ## 4. Write it yourself
    """)
    return


@app.cell
def _(exercise, mo):
    mo.md(exercise.EXERCISE)
    return


@app.cell
def _(mo):
    get_resets, set_resets = mo.state(0)
    answer = {}  # not reactive: the verdict stays while one types
    return answer, get_resets, set_resets


@app.cell
def _(answer, exercise, get_resets, mo):
    get_resets()  # with each the editor begins anew
    answer["source"] = exercise.START
    editor = mo.ui.code_editor(
        value=exercise.START,
        label="Your function (Escape twice, then Tab, leaves the editor)",
        min_height=140,
        debounce=False,
        show_copy_button=True,
        on_change=lambda source: answer.update(source=source),
    )
    editor
    return


@app.cell
def _(mo):
    run = mo.ui.run_button(label="Run", kind="success")
    reset = mo.ui.run_button(label="Reset")
    mo.hstack([run, reset], justify="start")
    return reset, run


@app.cell
def _(get_resets, mo, reset, set_resets):
    mo.stop(not reset.value)
    set_resets(get_resets() + 1)
    return


@app.cell
def _(answer, check_source, fragments, mo, run):
    mo.stop(not run.value)
    with mo.status.spinner(title="Asking your function ..."):
        _report = check_source(answer["source"], seconds=2)
    mo.Html(fragments.verdict(_report))
    return


@app.cell
def _(exercise, mo):
    mo.md(f"/// details | Show solution\n\n```python\n{exercise.SOLUTION}```\n\n///")
    return


@app.cell
def _(mo):
    mo.md(r"""
    Your function was asked in a process of its own, with limits on time and memory. The same check is on the command
    line, and there it goes on to arrays, to NaN and signed zeros, and to derivatives:
    `leakyrelu check my_file.py --level ieee`.

    ## 5. Which slope, and how to use it

    0.01 is a habit (Maas et al. 2013). Larger slopes did better in Xu et al. 2015. A larger slope also changes more of
    what a network trained with ReLU computes. Initialise the weights with the gain that suits the slope,
    $\sqrt{2 / (1 + \alpha^2)}$ (He et al. 2015). Then measure: `leakyrelu tune` does, on several seeds, and says
    whether a difference is larger than their spread.
    """)
    return


@app.cell
def _(examples, mo):
    mo.vstack([mo.md(f"### {_name}\n\n```python\n{_code}```") for _name, _code in examples.EXAMPLES.items()])
    return


if __name__ == "__main__":
    app.run()
