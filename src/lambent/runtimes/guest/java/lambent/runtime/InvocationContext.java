package lambent.runtime;

import com.amazonaws.services.lambda.runtime.Client;
import com.amazonaws.services.lambda.runtime.ClientContext;
import com.amazonaws.services.lambda.runtime.CognitoIdentity;
import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.LambdaLogger;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/** The context of one invocation, from the event's headers and the environment. */
final class InvocationContext implements Context {
    private final RuntimeApi.Answer event;
    private final LambdaLogger logger;
    private final long deadlineMs;
    private final Map<String, Object> identity;
    private final Map<String, Object> clientContext;

    InvocationContext(RuntimeApi.Answer event, LambdaLogger logger) {
        this.event = event;
        this.logger = logger;
        String deadline = event.header("lambda-runtime-deadline-ms");
        this.deadlineMs = deadline == null ? 0 : Long.parseLong(deadline);
        this.identity = object(event.header("lambda-runtime-cognito-identity"));
        this.clientContext = object(event.header("lambda-runtime-client-context"));
    }

    @Override
    public String getAwsRequestId() {
        return event.header("lambda-runtime-aws-request-id");
    }

    @Override
    public String getLogGroupName() {
        return System.getenv("AWS_LAMBDA_LOG_GROUP_NAME");
    }

    @Override
    public String getLogStreamName() {
        return System.getenv("AWS_LAMBDA_LOG_STREAM_NAME");
    }

    @Override
    public String getFunctionName() {
        return System.getenv("AWS_LAMBDA_FUNCTION_NAME");
    }

    @Override
    public String getFunctionVersion() {
        return System.getenv("AWS_LAMBDA_FUNCTION_VERSION");
    }

    @Override
    public String getInvokedFunctionArn() {
        return event.header("lambda-runtime-invoked-function-arn");
    }

    @Override
    public int getRemainingTimeInMillis() {
        return (int) Math.max(0, deadlineMs - System.currentTimeMillis());
    }

    @Override
    public int getMemoryLimitInMB() {
        String size = System.getenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE");
        return size == null ? 0 : Integer.parseInt(size);
    }

    @Override
    public LambdaLogger getLogger() {
        return logger;
    }

    @Override
    public String getTenantId() {
        return event.header("lambda-runtime-aws-tenant-id");
    }

    @Override
    public String getXrayTraceId() {
        return event.header("lambda-runtime-trace-id");
    }

    @Override
    public CognitoIdentity getIdentity() {
        return new CognitoIdentity() {
            @Override
            public String getIdentityId() {
                return identity == null ? "" : text(identity, "cognitoIdentityId", "identityId");
            }

            @Override
            public String getIdentityPoolId() {
                return identity == null ? "" : text(identity, "cognitoIdentityPoolId", "poolId");
            }
        };
    }

    @Override
    public ClientContext getClientContext() {
        if (clientContext == null) {
            return null;
        }
        return new ClientContext() {
            @Override
            public Client getClient() {
                Object client = clientContext.get("client");
                return client instanceof Map ? new Application(asObject(client)) : null;
            }

            @Override
            public Map<String, String> getCustom() {
                return texts(clientContext.get("custom"));
            }

            @Override
            public Map<String, String> getEnvironment() {
                return texts(clientContext.get("env"));
            }
        };
    }

    private static final class Application implements Client {
        private final Map<String, Object> client;

        Application(Map<String, Object> client) {
            this.client = client;
        }

        @Override
        public String getInstallationId() {
            return text(client, "installation_id", "installationId");
        }

        @Override
        public String getAppTitle() {
            return text(client, "app_title", "appTitle");
        }

        @Override
        public String getAppVersionName() {
            return text(client, "app_version_name", "appVersionName");
        }

        @Override
        public String getAppVersionCode() {
            return text(client, "app_version_code", "appVersionCode");
        }

        @Override
        public String getAppPackageName() {
            return text(client, "app_package_name", "appPackageName");
        }
    }

    private static Map<String, Object> object(String json) {
        if (json == null || json.isEmpty()) {
            return null;
        }
        Object value = Json.parse(json);
        return value instanceof Map ? asObject(value) : null;
    }

    @SuppressWarnings("unchecked")
    private static Map<String, Object> asObject(Object value) {
        return (Map<String, Object>) value;
    }

    private static String text(Map<String, Object> object, String... names) {
        for (String name : names) {
            Object value = object.get(name);
            if (value != null) {
                return value.toString();
            }
        }
        return null;
    }

    private static Map<String, String> texts(Object value) {
        if (!(value instanceof Map)) {
            return value == null ? null : Collections.<String, String>emptyMap();
        }
        Map<String, String> texts = new LinkedHashMap<String, String>();
        for (Map.Entry<String, Object> entry : asObject(value).entrySet()) {
            texts.put(entry.getKey(), entry.getValue() == null ? null : entry.getValue().toString());
        }
        return texts;
    }
}
