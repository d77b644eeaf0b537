package lambent.runtime;

import java.lang.reflect.Method;

/** Puts the request id where AWS's Log4j appenders look for it. */
final class Log4jContext {
    private Log4jContext() {}

    static void put(String requestId) {
        boolean known = put("org.apache.log4j.MDC", Object.class, requestId);
        known |= put("org.apache.logging.log4j.ThreadContext", String.class, requestId);
        if (!known) {
            System.err.println(
                    "Customer using log4j appender but unable to load either "
                            + "org.apache.log4j.MDC or org.apache.logging.log4j.ThreadContext. "
                            + "Customer cannot see RequestId in log4j log lines.");
        }
    }

    private static boolean put(String className, Class<?> valueType, String requestId) {
        try {
            Class<?> context = Class.forName(className, true, Thread.currentThread().getContextClassLoader());
            Method put = context.getMethod("put", String.class, valueType);
            put.invoke(null, "AWSRequestId", requestId);
            return true;
        } catch (ReflectiveOperationException | LinkageError e) {
            return false;
        }
    }
}
