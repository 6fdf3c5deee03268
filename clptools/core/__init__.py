"""The core: all rules of the cluster, pure.  What is around it uses these:

    node.Node                  one server: `step(event, now) -> actions`, `view`, `snapshot`
    model.settings.Settings    the configuration that it goes by
    model.events, .actions     what it is told, what it wants done
    model.requests             what operators ask for
    model.view.StatusView      what it knows, as `clpstat` shows it

Nothing is imported here: a command that needs one of the values would load every rule with it.
"""
