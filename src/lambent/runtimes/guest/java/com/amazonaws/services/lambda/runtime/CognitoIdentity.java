package com.amazonaws.services.lambda.runtime;

/** Who called, by Cognito. */
public interface CognitoIdentity {
    String getIdentityId();

    String getIdentityPoolId();
}
