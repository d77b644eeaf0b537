"""The program that the runtime starts with. On AWS, too, it is /var/runtime/bootstrap.py and the interpreter's `__main__`."""


def handle_event_request(request_handler, event, lambda_context):
    # A call that does not even reach the handler (a wrong number of parameters) shows this frame, as on AWS.
    response = request_handler(event, lambda_context)
    return response  # noqa: RET504


if __name__ == "__main__":
    import lambent_runtime

    lambent_runtime.main()
