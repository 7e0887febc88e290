"""Reading what the model consists of: its state dict, and the names of its parameters."""

from bench_core.suite import OfModel, oracles


class Access(OfModel):
    """Walk through the modules of a model that is there."""

    def setup(self):
        super().setup()
        # Constructing the model is timed elsewhere.
        self.model = self.target.ready()
        self.found = {}

    def time_state_dict(self):
        self.found = self.model.state_dict()

    def check_state_dict(self):
        self.time_state_dict()
        oracles.same(set(self.found), {name for name, _, saved in oracles.held(self.model) if saved}, "names")
        for name, tensor, saved in oracles.held(self.model):
            if saved and tensor.numel():
                oracles.alias(self.found[name], tensor, name)

    def time_named_parameters(self):
        self.found = list(self.model.named_parameters())

    def check_named_parameters(self):
        self.time_named_parameters()
        oracles.same([id(one) for _, one in self.found], [id(one) for one in self.model.parameters()], "parameters")
