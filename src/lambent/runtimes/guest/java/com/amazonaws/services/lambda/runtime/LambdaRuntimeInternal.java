package com.amazonaws.services.lambda.runtime;

/** Set by AWS's Log4j 2 appender; then each request's id is put into Log4j's thread context. */
public final class LambdaRuntimeInternal {
    private static boolean useLog4jAppender;

    private LambdaRuntimeInternal() {}

    public static void setUseLog4jAppender(boolean use) {
        useLog4jAppender = use;
    }

    public static boolean getUseLog4jAppender() {
        return useLog4jAppender;
    }
}
