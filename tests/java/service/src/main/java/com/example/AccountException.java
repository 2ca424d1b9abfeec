package com.example;

/** An exception class that only the provider knows. */
public class AccountException extends Exception {
    private static final long serialVersionUID = 1;

    private final int code;

    public AccountException(String message, int code) {
        super(message);
        this.code = code;
    }

    public int getCode() {
        return code;
    }
}
