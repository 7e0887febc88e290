"""One training step."""

from bench_core.suite import OfModel, Step


class Training(OfModel):
    """Forward, backward and optimizer on the example of the model."""

    def why_not(self):
        return super().why_not() or self.why_no_step()

    def setup(self):
        super().setup()
        # One step before anything is timed: it makes the state of the optimizer.
        self.step = Step(self.target)
        self.step.take()

    def time_step(self):
        self.step.take()

    def check_step(self):
        self.step.forget()
        self.time_step()
        self.step.require_gradients()
