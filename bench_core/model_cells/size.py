"""What the model consists of, counted."""

from bench_core.suite import OfModel, describe, oracles


class Size(OfModel):
    """Parameters that several names share count once."""

    def setup(self):
        super().setup()
        self.model = self.target.ready()

    def track_parameter_bytes(self):
        return describe(self.model).bytes

    track_parameter_bytes.unit = "bytes"

    def check_parameter_bytes(self):
        oracles.same(self.track_parameter_bytes(), sum(one.nbytes for one in self.model.parameters()), "bytes")

    def track_parameters(self):
        return describe(self.model).parameters

    track_parameters.unit = "parameters"

    def check_parameters(self):
        oracles.same(self.track_parameters(), len(list(self.model.parameters())), "parameters")
