"""The cage. A file per kernel mechanism under `privileged/`; here is the server's side of it.

spec = EnvironmentSpec(...)
plan = plan_environment(spec, level, machine)     what would be done; can be printed
cage = await sandbox.launch(spec)                 doing it
"""
