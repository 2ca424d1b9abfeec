package com.example;

import java.io.Serializable;

/** One of the two classes that an overloaded method takes. */
public class User implements Serializable {
    private static final long serialVersionUID = 1;

    private String name;

    public String getName() {
        return name;
    }

    public void setName(String name) {
        this.name = name;
    }
}
