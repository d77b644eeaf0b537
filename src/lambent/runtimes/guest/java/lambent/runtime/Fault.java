package lambent.runtime;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;

/** The function cannot be called as it was configured. A fatal one ends the environment at once. */
final class Fault extends RuntimeException {
    private static final long serialVersionUID = 1L;
    private static final String OUR_PACKAGE = "lambent.runtime.";

    final boolean fatal;

    Fault(String message) {
        this(message, null, false);
    }

    Fault(String message, Throwable cause, boolean fatal) {
        super(message, cause, false, false);
        this.fatal = fatal;
    }

    /** What the caller sees. Lambda gives no stack here. */
    Map<String, Object> document() {
        Map<String, Object> document = new LinkedHashMap<String, Object>();
        document.put("errorMessage", getMessage());
        if (getCause() != null) {
            document.put("errorType", getCause().getClass().getName());
        }
        return document;
    }

    /** Value of the header that names the error's type. */
    String errorType() {
        return "Runtime.BadFunctionCode";
    }

    /** What goes into the log. */
    String forLog() {
        Throwable cause = getCause();
        if (cause == null) {
            return getMessage() + "\n";
        }
        StringWriter trace = new StringWriter();
        withoutOurFrames(cause).printStackTrace(new PrintWriter(trace, true));
        return getMessage() + ": " + cause.getClass().getName() + "\n" + trace + "\n";
    }

    static String messageOf(Throwable error) {
        String message = error.getLocalizedMessage();
        return message == null ? error.getClass().getName() : message;
    }

    /** Cuts stack traces, causes included, where the function's own code begins. Returns its argument. */
    static Throwable withoutOurFrames(Throwable error) {
        cut(error, Collections.newSetFromMap(new IdentityHashMap<Throwable, Boolean>()));
        return error;
    }

    private static void cut(Throwable error, Set<Throwable> seen) {
        if (error == null || !seen.add(error)) {
            return;
        }
        StackTraceElement[] trace = error.getStackTrace();
        for (int i = 0; i < trace.length; i++) {
            if (trace[i].getClassName().startsWith(OUR_PACKAGE)) {
                StackTraceElement[] kept = new StackTraceElement[i];
                System.arraycopy(trace, 0, kept, 0, i);
                error.setStackTrace(kept);
                break;
            }
        }
        cut(error.getCause(), seen);
        for (Throwable suppressed : error.getSuppressed()) {
            cut(suppressed, seen);
        }
    }

    /** Throws anything without declaring it. */
    @SuppressWarnings("unchecked")
    static <E extends Throwable> RuntimeException sneak(Throwable error) throws E {
        throw (E) error;
    }
}
