package lambent.runtime;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import java.io.ByteArrayInputStream;
import java.io.EOFException;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * A function's life from its load until its first answer, with nobody's code and nothing left of it: so that a process which
 * waits has what it will need loaded, and has run it once.
 */
final class Rehearsal {
    private static final String EVENT = "{\"a\":[1,2.5,null],\"b\":\"c\"}";
    private static final String ANSWER = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " + EVENT.length()
            + "\r\nLambda-Runtime-Aws-Request-Id: 1\r\nLambda-Runtime-Deadline-Ms: 1\r\n\r\n" + EVENT;
    private static final String ACCEPTED = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";

    private Rehearsal() {}

    static void hold() throws Exception {
        try (OutputStream nowhere = new FileOutputStream("/dev/null")) {
            PrintStream printed = new PrintStream(nowhere, true, "UTF-8");
            printed.println("rehearsal");
            FunctionLogger logger = FunctionLogger.of(nowhere);
            logger.install();
            URL client = Rehearsal.class.getProtectionDomain().getCodeSource().getLocation();
            // As a function's directory and jar, below a parent that has not got the class.
            URL[] places = {new URL(client, "."), client};
            ClassLoader parent = ClassLoader.getSystemClassLoader().getParent();
            try (FunctionClassLoader loader = new FunctionClassLoader(places, parent)) {
                HandlerLoader.load(Function.class.getName() + "::handle", loader);
            }
            play(HandlerLoader.load(Function.class.getName(), Rehearsal.class.getClassLoader()), logger, nowhere);
        }
    }

    private static void play(Handler handler, FunctionLogger logger, OutputStream nowhere) {
        try {
            Main.serve(new Script(nowhere), handler, logger);
        } catch (IOException over) {
            // the second event, which never comes
        }
    }

    /** The Runtime API's part: one event, and that the answer is accepted. No socket: functions set properties that those read. */
    private static final class Script extends RuntimeApi {
        private final OutputStream nowhere;
        private boolean isOver;

        Script(OutputStream nowhere) {
            super("127.0.0.1:9001");
            this.nowhere = nowhere;
        }

        @Override
        void connect() throws IOException {
            if (isOver) {
                throw new EOFException();
            }
            isOver = true;
            speakOver(nowhere, new ByteArrayInputStream((ANSWER + ACCEPTED).getBytes(StandardCharsets.ISO_8859_1)), nowhere);
        }
    }

    /** Public, as a function's own. */
    public static final class Function implements RequestHandler<Map<String, Object>, Map<String, Object>> {
        @Override
        public Map<String, Object> handleRequest(Map<String, Object> event, Context context) {
            context.getLogger().log("rehearsal");
            return new LinkedHashMap<String, Object>(event);
        }

        public Object handle(Object event) {
            return event;
        }
    }
}
