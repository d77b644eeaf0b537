"""Lambda's limits, each with its unit and its source.

QUOTAS = https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
MODEL  = botocore's newest `lambda` service model
"""

from typing import Final

MIB: Final = 1024 * 1024

MEMORY_MIN_MIB: Final = 128  # QUOTAS
MEMORY_MAX_MIB: Final = 10_240  # QUOTAS
MEMORY_DEFAULT_MIB: Final = 128  # CreateFunction, MemorySize

TIMEOUT_DEFAULT_S: Final = 3  # CreateFunction, Timeout
TIMEOUT_MAX_S: Final = 900  # QUOTAS

EPHEMERAL_MIN_MIB: Final = 512  # QUOTAS, /tmp
EPHEMERAL_MAX_MIB: Final = 10_240  # QUOTAS

ENVIRONMENT_MAX_BYTES: Final = 4_096  # QUOTAS, all variables together

SYNC_PAYLOAD_MAX_BYTES: Final = 6 * MIB  # QUOTAS, each way
SYNC_RESPONSE_MAX_BYTES: Final = 6 * MIB + 100  # the Runtime API lets a response be 100 bytes longer
ASYNC_PAYLOAD_MAX_BYTES: Final = 1 * MIB  # QUOTAS
STREAMED_RESPONSE_MAX_BYTES: Final = 200 * MIB  # QUOTAS
LOG_TAIL_BYTES: Final = 4_096  # Invoke, LogResult: the last 4 KB
CLIENT_CONTEXT_MAX_BYTES: Final = 3_583  # Invoke, ClientContext

ZIP_UPLOAD_MAX_BYTES: Final = 50 * MIB  # QUOTAS, zipped, by direct upload
UNZIPPED_MAX_BYTES: Final = 250 * MIB  # QUOTAS, with layers: 262,144,000 bytes
LAYERS_MAX: Final = 5  # QUOTAS
CODE_STORAGE_MAX_BYTES: Final = 75 * 1024 * MIB  # QUOTAS, function and layer storage: 75 GB

PROCESSES_MAX: Final = 1_024  # QUOTAS, processes and threads
FILE_DESCRIPTORS_MAX: Final = 1_024  # QUOTAS

INIT_PHASE_S: Final = 10  # https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html, Init phase
PROVISIONED_INIT_S: Final = (
    130  # same page, of provisioned concurrency: at least, and as long as the function's timeout
)
# https://docs.aws.amazon.com/lambda/latest/dg/snapstart-runtime-hooks-python.html: or the function's timeout, if longer
SNAPSHOT_INIT_S: Final = 130
RESTORE_S: Final = 10  # same page: with the hooks after it
SHUTDOWN_NO_EXTENSION_MS: Final = 0  # the Init phase's page, Shutdown phase
SHUTDOWN_INTERNAL_EXTENSION_MS: Final = 500
SHUTDOWN_EXTERNAL_EXTENSION_MS: Final = 2_000
EXTENSIONS_MAX: Final = 10  # https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html

LOG_EVENT_MAX_BYTES: Final = 262_144  # CloudWatch Logs' event size that Lambda splits at

ACCOUNT_CONCURRENCY: Final = 1_000  # QUOTAS
UNRESERVED_CONCURRENCY_MIN: Final = 100  # QUOTAS
# https://docs.aws.amazon.com/lambda/latest/dg/scaling-behavior.html: of each function
SCALING_ENVIRONMENTS: Final = 1_000
SCALING_PERIOD_S: Final = 10.0
