"""Starting up with the values of a checkpoint: construction, reading and loading together."""

from bench_core.suite import Loading, OfModel, labels


class Load(OfModel):
    """Load a checkpoint: the plain way, and the one that constructs on meta and maps the file.

    Both need the builder, and in other ways: a builder that draws more costs the first one time, and one that is slow
    in Python costs both.
    """

    param_names = ["way"]
    params = [labels("eager_copy", "meta_assign_mmap")]
    rivals = "way"

    def setup(self, way):
        super().setup(way)
        # The checkpoint is written here, by each version with its own model.
        self.loading = Loading(self.target, way)
        self.model = None

    def time_load(self, way):
        self.model = self.loading.go()

    def check_load(self, way):
        self.time_load(way)
        self.loading.require_same(self.model)

    def peakmem_load(self, way):
        self.model = self.loading.go()
