package lambent.runtime;

import com.amazonaws.services.lambda.runtime.LambdaRuntimeInternal;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOError;
import java.io.IOException;
import java.io.PrintStream;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Lambda's Java runtime: loads the handler once, then asks the Runtime API for events and answers them, one at a time.
 *
 * <p>Written for a short start: no lambdas, no regular expressions, no String.format on the way to the first event. The
 * language level is Java 8, so that one compilation serves every runtime.
 */
public final class Main {
    private static final String TRACE_PROPERTY = "com.amazonaws.xray.traceHeader"; // where the X-Ray SDK looks

    private Main() {}

    public static void main(String[] arguments) throws Exception {
        FileDescriptor connection = Waiting.beCalled();
        System.setOut(new PrintStream(new FileOutputStream(FileDescriptor.out), true, "UTF-8"));
        System.setErr(new PrintStream(new FileOutputStream(FileDescriptor.err), true, "UTF-8"));
        FunctionLogger logger = FunctionLogger.fromEnvironment();
        logger.install();
        String address = System.getenv("AWS_LAMBDA_RUNTIME_API");
        RuntimeApi api = new RuntimeApi(address);
        if (connection != null) {
            api.use(connection);
        }
        Handler handler = load(api, logger, arguments.length > 0 ? arguments[0] : "/opt/java/lib");
        try {
            serve(api, handler, logger);
        } catch (IOException lost) {
            System.err.println("The connection to the Runtime API is lost: " + lost.getMessage());
            System.exit(1);
        }
    }

    private static Handler load(RuntimeApi api, FunctionLogger logger, String layers) throws IOException {
        try {
            return HandlerLoader.load(System.getenv("_HANDLER"), FunctionClassLoader.create(layers));
        } catch (Fault fault) {
            if (!fault.fatal) {
                return new FaultyHandler(fault);
            }
            logger.fault(fault.forLog());
            api.postError("/init/error", fault.errorType(), Json.write(fault.document()));
            System.exit(1);
            throw new AssertionError();
        }
    }

    static void serve(RuntimeApi api, Handler handler, FunctionLogger logger) throws IOException {
        RuntimeApi.Answer event = api.next();
        while (true) {
            String requestId = event.header("lambda-runtime-aws-request-id");
            String trace = event.header("lambda-runtime-trace-id");
            if (trace == null) {
                System.clearProperty(TRACE_PROPERTY);
            } else {
                System.setProperty(TRACE_PROPERTY, trace);
            }
            String path = "/invocation/" + requestId;
            byte[] result;
            try {
                result = call(handler, event, requestId, logger);
            } catch (Throwable error) {
                boolean last = reportError(api, path, error, logger);
                if (last) {
                    System.exit(1);
                }
                event = api.next();
                continue;
            }
            Thread.interrupted(); // the function may have left the flag set
            event = api.respondAndNext(path + "/response", result);
        }
    }

    private static byte[] call(Handler handler, RuntimeApi.Answer event, String requestId, FunctionLogger logger)
            throws Throwable {
        InvocationContext context = new InvocationContext(event, logger);
        logger.setRequest(requestId, context.getTenantId());
        if (LambdaRuntimeInternal.getUseLog4jAppender()) {
            Log4jContext.put(requestId);
        }
        return handler.handle(event.body, context);
    }

    /** Returns whether the process cannot go on. */
    private static boolean reportError(RuntimeApi api, String path, Throwable error, FunctionLogger logger) throws IOException {
        Fault fault = error instanceof Fault ? (Fault) error : null;
        Map<String, Object> document;
        String log;
        String type;
        if (fault != null) {
            document = fault.document();
            log = fault.forLog();
            type = fault.errorType();
        } else {
            Fault.withoutOurFrames(error);
            document = document(error);
            log = new Fault(Fault.messageOf(error), error, false).forLog();
            type = error.getClass().getName();
        }
        api.postError(path + "/error", type, Json.write(document));
        logger.fault(log);
        return fault != null ? fault.fatal : error instanceof VirtualMachineError || error instanceof IOError;
    }

    private static Map<String, Object> document(Throwable error) {
        Map<String, Object> document = new LinkedHashMap<String, Object>();
        document.put("errorMessage", Fault.messageOf(error));
        document.put("errorType", error.getClass().getName());
        StackTraceElement[] trace = error.getStackTrace();
        String[] lines = new String[trace.length];
        for (int i = 0; i < trace.length; i++) {
            lines[i] = trace[i].toString();
        }
        document.put("stackTrace", lines);
        return document;
    }

    /** Stands for a handler that could not be found: every invocation fails with the reason. */
    private static final class FaultyHandler implements Handler {
        private final Fault fault;

        FaultyHandler(Fault fault) {
            this.fault = fault;
        }

        @Override
        public byte[] handle(byte[] event, InvocationContext context) {
            throw fault;
        }
    }
}
